package verdict

import (
	"time"

	"halfopen/sockstate"
)

// look is the kernel's view of a connection at a second, after what was measured of
// each class on Linux 6.18.
func (l *line) look(s int, proc bool) sockstate.Socket {
	k := l.sock
	k.State, k.Timer, k.TimerIn = sockstate.Established, sockstate.TimerKeepalive, 9*time.Second
	for_ := time.Duration(s-l.since) * time.Second
	i := sockstate.Info{
		RTO: 204 * time.Millisecond, RTT: 300 * time.Microsecond, Cwnd: 10, LastDataRecv: time.Duration(l.idle) * time.Second, LastAckRecv: time.Duration(l.idle%15) * time.Second,
		BytesAcked: sockstate.Some(uint64(5000 + 100*l.since)), BytesReceived: sockstate.Some(uint64(600 + s)), DataSegsOut: sockstate.Some(uint32(2000 + 10*s)), SndWnd: sockstate.Some[uint32](64256),
	}
	gone := func() {
		age := max(time.Duration(s-l.heard)*time.Second, for_)
		i.LastDataRecv, i.LastAckRecv, i.BytesReceived = age, age, sockstate.Some(uint64(600+l.since))
	}
	switch l.phase.is {
	case flowing:
		if l.phase.every > 0 { // kept waiting in between
			i.LastDataRecv, i.LastAckRecv = for_%(5*time.Second), for_%(5*time.Second)
		}
		i.TotalRetrans = uint32(l.phase.loss * float64(2000+10*s))
		if n := uint32(l.phase.loss * 5); n > 0 && s%2 == 0 {
			k.Timer, k.TimerIn, k.SendQ, k.Retransmits = sockstate.TimerRetransmit, time.Second, 800, n
			i.Backoff, i.LastAckRecv = uint8(n), time.Duration(n)*time.Second
		}
	case syn:
		k.State, k.Timer, k.SendQ, k.Retransmits = sockstate.SynSent, sockstate.TimerRetransmit, 1, uint32(min(for_/(5*time.Second), 6))
	case dead, deadOut, deadBack:
		gone()
		k.Timer, k.SendQ = sockstate.TimerRetransmit, 1002
		rto, due := i.RTO, i.RTO
		for ; due <= for_; due += rto {
			rto = min(2*rto, 2*time.Minute)
			k.Retransmits++
		}
		i.DataSegsOut, i.TotalRetrans = sockstate.Some(uint32(2000+10*l.since)), k.Retransmits+1
		k.TimerIn, i.RTO, i.Backoff, i.Cwnd, i.Unacked, i.Lost = due-for_, rto, uint8(k.Retransmits), 1, 1, 1
	case deadIdle:
		gone()
		k.Retransmits = uint32(max(0, int(for_/(15*time.Second))-1))
		i.Probes = uint8(k.Retransmits)
	case blocked:
		i.LastDataRecv, i.LastAckRecv = for_%(5*time.Second), for_%(5*time.Second)
	case silent:
		gone()
		i.LastAckRecv = for_ % (15 * time.Second)
	case zero:
		gone()
		k.Timer, k.SendQ, i.LastAckRecv, i.SndWnd = sockstate.TimerProbe, 60_000, for_%(2*time.Second), sockstate.Some[uint32](0)
	case dropped:
		gone()
		k.Timer, k.SendQ = sockstate.TimerProbe, 1002
	case closing:
		gone()
		k.State, k.RecvQ = sockstate.CloseWait, 1
	case hung:
		gone()
		k.RecvQ = 12
	}
	if proc { // without cookie and tcp_info
		k.Cookie, k.Proc = 0, &sockstate.ProcCols{Retransmits: k.Retransmits, RTO: i.RTO}
		return k
	}
	k.Info = &i
	return k
}
