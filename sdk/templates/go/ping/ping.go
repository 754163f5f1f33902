package lib

import (
	"github.com/taubyte/go-sdk/event"
)

// The function's configuration names this one: `call: ping`.
//
//export ping
func ping(e event.Event) uint32 {
	h, err := e.HTTP()
	if err != nil {
		return 1
	}
	h.Headers().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err = h.Write([]byte("pong")); err != nil {
		return 1
	}
	return 0
}
