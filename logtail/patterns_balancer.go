package logtail

import "regexp"

var balancerPatterns = []Pattern{
	{
		Name:     "alb-502",
		Means:    "The load balancer answered 502 itself: it had no whole response from the target, whose side closed or reset the connection. Often a kept-alive connection that the target, or something before it, had given up: compare the idle timeouts.",
		Source:   "AWS Elastic Load Balancing, Access log entries: response_processing_time is -1 where the target sent no response",
		Example:  `https 2024-06-10T13:50:58.480543Z app/web/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.001 0.001 -1 502 - 298 679 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2`,
		contains: " -1 502 ",
		regexp:   regexp.MustCompile(` (?:-1|[0-9.]+) (?:-1|[0-9.]+) -1 502 `),
	},
}
