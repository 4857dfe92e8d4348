package letagentpay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"time"
)

// processJournal is the journal of a slot as its processes use it.
type processJournal struct {
	world *world
	memoryJournal
	faults []*journalFault // guarded by the world's lock
}

// journalFault is what happens to the journal's next calls of a kind.
type journalFault struct {
	op    string       // "put", "get", "delete", "entries"; empty: any
	state journalState // of a put; empty: any
	kind  string
	times int
}

const (
	diskFails     = "fails"
	failsHavingly = "does it and fails"
	callPanics    = "panics"
	callExits     = "ends its goroutine"
	callIsSlow    = "takes 11s"
)

func (f *journalFault) String() string {
	what := "a call of the journal"
	if f.op != "" {
		what = "the journal's " + f.op
		if f.state != "" {
			what += " of " + string(f.state)
		}
	}
	return fmt.Sprintf("%s %s, %d times", what, f.kind, f.times)
}

func (f *journalFault) play(w *world) {
	w.diskFailed = true
	w.disturb()
	for _, s := range w.slots {
		if s.journal != nil {
			fault := *f
			s.journal.faults = append(s.journal.faults, &fault)
		}
	}
}

var errDisk = errors.New("the disk has failed")

// fault returns the fault that applies to a call, or nil.
func (j *processJournal) fault(op string, state journalState) string {
	j.world.mu.Lock()
	defer j.world.mu.Unlock()
	for _, f := range j.faults {
		if f.times > 0 && (f.op == "" || f.op == op && (f.state == "" || f.state == state)) {
			f.times--
			return f.kind
		}
	}
	return ""
}

func (j *processJournal) event(
	ctx context.Context, op string, state journalState, do func() error,
) (err error) {
	a := attemptOf(ctx)
	work := func() {
		switch j.fault(op, state) {
		case diskFails:
			err = errDisk
			return
		case callPanics:
			panic(errDisk)
		case callExits:
			runtime.Goexit()
		case callIsSlow:
			if time.Sleep(11 * time.Second); a != nil && a.process.isDead() {
				return
			}
		case failsHavingly:
			defer func() { err = errDisk }()
		}
		err = do()
	}
	if a == nil {
		work()
		return err
	}
	if !a.process.event(a, work) {
		return errDied
	}
	return err
}

func (j *processJournal) Get(ctx context.Context, key string) (entry *journalEntry, err error) {
	err = j.event(ctx, "get", "", func() (err error) {
		entry, err = j.memoryJournal.Get(ctx, key)
		return err
	})
	return entry, err
}

func (j *processJournal) Put(ctx context.Context, entry *journalEntry) error {
	return j.event(ctx, "put", entry.State, func() error { return j.memoryJournal.Put(ctx, entry) })
}

func (j *processJournal) Delete(ctx context.Context, key string) error {
	return j.event(ctx, "delete", "", func() error { return j.memoryJournal.Delete(ctx, key) })
}

func (j *processJournal) Entries(ctx context.Context) iter.Seq2[*journalEntry, error] {
	if err := j.event(ctx, "entries", "", func() error { return nil }); err != nil {
		return func(yield func(*journalEntry, error) bool) { yield(nil, err) }
	}
	return j.memoryJournal.Entries(ctx)
}

// knows reports whether the journal holds the outcome of a request.
func (j *processJournal) knows(requestID string) bool {
	for entry := range j.memoryJournal.Entries(context.Background()) {
		ended := entry.State == stateReturned || entry.State == stateSettled
		if entry.RequestID == requestID && ended {
			return true
		}
	}
	return false
}

// hostileCodec is a JSON codec with one fault.
type hostileCodec struct{ mishap string }

const (
	encodingFails  = "cannot encode"
	encodingPanics = "panics when it encodes"
	encodingExits  = "ends its goroutine when it encodes"
	encodingIsSlow = "takes 11s to encode"
	decodingFails  = "cannot decode"
	decodingPanics = "panics when it decodes"
	decodingExits  = "ends its goroutine when it decodes"
)

var errCodec = errors.New("the codec has failed")

func (c *hostileCodec) Encode(result any) ([]byte, error) {
	switch c.mishap {
	case encodingFails:
		return nil, errCodec
	case encodingPanics:
		panic(errCodec)
	case encodingExits:
		runtime.Goexit()
	case encodingIsSlow:
		time.Sleep(11 * time.Second)
	}
	return json.Marshal(result)
}

func (c *hostileCodec) Decode(data []byte, result any) error {
	switch c.mishap {
	case decodingFails:
		return errCodec
	case decodingPanics:
		panic(errCodec)
	case decodingExits:
		runtime.Goexit()
	}
	return json.Unmarshal(data, result)
}
