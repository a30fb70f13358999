package sockstate

import "time"

// Sysctls are the settings of TCP in one network namespace
// (Documentation/networking/ip-sysctl.rst); they hold for IPv6 as well. One that
// the running kernel does not have is nil.
type Sysctls struct {
	Retries1          *int           `json:"tcp_retries1,omitempty"`
	Retries2          *int           `json:"tcp_retries2,omitempty"`            // give up, as a time: see GiveUp
	OrphanRetries     *int           `json:"tcp_orphan_retries,omitempty"`      // the same without an owner; 0 means 8
	SynRetries        *int           `json:"tcp_syn_retries,omitempty"`         //
	SynLinearTimeouts *int           `json:"tcp_syn_linear_timeouts,omitempty"` // SYNs before the backoff begins; 6.5
	SynackRetries     *int           `json:"tcp_synack_retries,omitempty"`
	KeepaliveTime     *time.Duration `json:"tcp_keepalive_time_ns,omitempty"`
	KeepaliveInterval *time.Duration `json:"tcp_keepalive_intvl_ns,omitempty"`
	KeepaliveProbes   *int           `json:"tcp_keepalive_probes,omitempty"`
	FinTimeout        *time.Duration `json:"tcp_fin_timeout_ns,omitempty"`
	RTOMin            *time.Duration `json:"tcp_rto_min_ns,omitempty"` // 6.11
	RTOMax            *time.Duration `json:"tcp_rto_max_ns,omitempty"` // 6.15
	MaxSynBacklog     *int           `json:"tcp_max_syn_backlog,omitempty"`
	Syncookies        *int           `json:"tcp_syncookies,omitempty"`
	Somaxconn         *int           `json:"somaxconn,omitempty"`
	RMem              *BufferSize    `json:"tcp_rmem,omitempty"`
	WMem              *BufferSize    `json:"tcp_wmem,omitempty"`
	CongestionControl string         `json:"tcp_congestion_control,omitempty"`

	// Tick is the kernel's timer tick (1/HZ), 0 if unknown. It is no setting, but
	// the forecast of timers needs it.
	Tick time.Duration `json:"tick_ns,omitempty"`
}

// BufferSize is the size of a socket's buffer.
type BufferSize struct {
	Min     int `json:"min_bytes"`
	Default int `json:"default_bytes"`
	Max     int `json:"max_bytes"`
}
