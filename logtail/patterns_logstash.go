package logtail

// The Java part of the Beats input (logstash-input-beats, src/main/java/org/logstash/beats).
var logstashPatterns = []Pattern{
	{
		Name:     "logstash-idle-close",
		Means:    "Logstash closes a client that was silent for client_inactivity_timeout (60 s). It has no socket then, while a shipper that does not learn of it stays ESTABLISHED. Written at level debug only.",
		Source:   "logstash-input-beats ConnectionHandler.java",
		Example:  "[2026-11-21T12:00:00,123][DEBUG][org.logstash.beats.ConnectionHandler][main] 6c5e698d: reader and writer are idle, closing remote connection",
		contains: "reader and writer are idle, closing remote connection",
	},
	{
		Name:     "logstash-reset",
		Means:    "A client's connection ended by RST: the client, its kernel or a middlebox ended it.",
		Source:   "logstash-input-beats BeatsHandler.java; the wording changed with Logstash 8 (logstash-input-beats#457)",
		Example:  "[2022-11-08T02:56:24,995][INFO ][org.logstash.beats.BeatsHandler] [local: 10.51.0.2:5044, remote: 10.50.0.2:33342] closing (Connection reset by peer)",
		contains: "Connection reset",
	},
	{
		Name:     "logstash-no-memory",
		Means:    "Logstash drops a client because its direct memory is used up.",
		Source:   "logstash-input-beats OOMConnectionCloser.java",
		Example:  "Dropping connection [id: 0x6c5e698d, L:/10.51.0.2:5044 - R:/10.50.0.2:33342] because run out of direct memory. To fix it, in Filebeat you can",
		contains: "because run out of direct memory",
	},
	{
		Name:     "logstash-protocol",
		Means:    "What a client sends is not Lumberjack: another program uses the port, or TLS is set on one side only.",
		Source:   "logstash-input-beats InvalidFrameProtocolException.java",
		Example:  "[local: 10.51.0.2:5044, remote: 10.50.0.2:33342] Handling exception: io.netty.handler.codec.DecoderException: org.logstash.beats.InvalidFrameProtocolException: Invalid version of beats protocol: 22 (caused by: org.logstash.beats.InvalidFrameProtocolException: Invalid version of beats protocol: 22)",
		contains: "InvalidFrameProtocolException",
	},
	{
		Name:     "logstash-exception",
		Means:    "The Beats input closes a client's connection because of the exception named.",
		Source:   "logstash-input-beats BeatsHandler.java",
		Example:  "[local: 10.51.0.2:5044, remote: 10.50.0.2:33342] Handling exception: java.nio.channels.ClosedChannelException (caused by: java.nio.channels.ClosedChannelException)",
		contains: "Handling exception: ",
	},
	{
		Name:     "logstash-unhandled",
		Means:    "Netty, which carries the Beats input, met an exception that no handler took; the lines below name it. A port scan or health check does that too.",
		Source:   "netty DefaultChannelPipeline.java; logstash-input-beats#407",
		Example:  "[2024-04-26T10:53:43,717][WARN ][io.netty.channel.DefaultChannelPipeline][beat] An exceptionCaught() event was fired, and it reached at the tail of the pipeline. It usually means the last handler in the pipeline did not handle the exception.",
		contains: "An exceptionCaught() event was fired",
	},
	{
		Name:     "logstash-output-down",
		Means:    "Logstash cannot reach Elasticsearch: the pipeline blocks, and the Beats input sends ACK 0 every 5 s instead of acknowledging.",
		Source:   "logstash-output-elasticsearch http_client/pool.rb",
		Example:  `[2021-12-30T03:03:26,075][WARN ][logstash.outputs.elasticsearch][main] Attempted to resurrect connection to dead ES instance, but got an error {:url=>"http://es01:9200/"}`,
		contains: "Attempted to resurrect connection to dead ES instance",
	},
	{
		Name:     "logstash-listening",
		Means:    "The Beats input was started: Logstash or the pipeline is new, and every connection before is gone.",
		Source:   "logstash-input-beats Server.java",
		Example:  "[2026-11-21T12:00:00,123][INFO ][org.logstash.beats.Server][main][beats] Starting server on port: 5044",
		contains: "Starting server on port: ",
	},
}
