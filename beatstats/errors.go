package beatstats

import (
	"errors"
	"fmt"
	"net/http"
)

// Reason says in one word why there are no counters, as a record spells it.
type Reason string

// The reasons of an Error.
const (
	NotAsked       Reason = "not_asked"      // the path is not known to change nothing
	Refused        Reason = "refused"        // nothing listens there: ECONNREFUSED, or no such socket file
	Unreachable    Reason = "unreachable"    // the dial failed otherwise, or took too long
	HeaderTimeout  Reason = "header_timeout" // connected, but no whole header in time
	BodyTimeout    Reason = "body_timeout"   // a header, but no whole body in time
	Canceled       Reason = "canceled"       // the caller's context ended
	Closed         Reason = "closed"         // the connection ended within the answer
	BadCertificate Reason = "certificate"    // https, and the certificate can't be verified
	NotHTTP        Reason = "not_http"       // it answered, not in HTTP/1
	BadStatus      Reason = "status"         // a status other than 200; a redirect is one
	TooLarge       Reason = "too_large"      // more than MaxBody
	NotJSON        Reason = "not_json"       // a web page, a cut answer, another format
	WrongService   Reason = "wrong_service"  // JSON, but no counters of a known kind
)

// Error is every error of Parse…, Fetch and Scrape.
type Error struct {
	Reason Reason
	Status int    // of the answer, with BadStatus
	Op     string // what was tried: "get http://127.0.0.1:5066/stats"
	Detail string // what was seen instead, input quoted
	Err    error  // the cause, if another error was
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Detail
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// quote gives the first max bytes of s in Go syntax, safe for a terminal, and
// says what it left out.
func quote[T string | []byte](s T, max int) string {
	if len(s) <= max {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", s[:max], len(s))
}

// NotFound reports whether the service answered, and has no such page.
func NotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == BadStatus && e.Status == http.StatusNotFound
}
