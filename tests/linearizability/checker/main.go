// Whether what clients of tns saw can be explained by operations that happen one after the other,
// each at some moment between its question and its answer: a history, checked by Porcupine.
//
//	checker HISTORY      exit code 0: it can; 1: it can't, or a client was taken back; 2: no answer
//
// A history has one JSON object a line (../README.md). Operations whose outcome is unknown may have
// happened at any time after they began, or never.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Operation is one line of a history. Times are nanoseconds of one clock.
type Operation struct {
	Client     int    `json:"client"`
	Key        string `json:"key"` // what it is about: a pointer or a name
	Kind       string `json:"kind"`
	Call       int64  `json:"call"`
	Return     int64  `json:"return"`
	Outcome    string `json:"outcome"` // ok, refused, missing, unknown
	Seq        uint64 `json:"seq"`
	Fence      uint64 `json:"fence"`
	From       uint64 `json:"from"`
	To         uint64 `json:"to"`
	Deployment string `json:"deployment"`
	Owner      string `json:"owner"`
}

// How many earlier versions tns keeps of a pointer (Names::kHistoryMax).
const kept = 20

// A pointer: where it stands, and the versions before, oldest first, as "seq=deployment;".
type pointer struct {
	exists     bool
	seq, fence uint64
	deployment string
	past       string
}

func version(seq uint64, deployment string) string {
	return fmt.Sprintf("%d=%s;", seq, deployment)
}

func (p pointer) has(seq uint64, deployment string) bool {
	return strings.Contains(";"+p.past, ";"+version(seq, deployment))
}

func (p pointer) moved(seq, fence uint64, deployment string) pointer {
	past := p.past
	if p.exists {
		past += version(p.seq, p.deployment)
	}
	for strings.Count(past, ";") > kept {
		past = past[strings.Index(past, ";")+1:]
	}
	return pointer{true, seq, fence, deployment, past}
}

func (p pointer) newer(o Operation) bool {
	return !p.exists || o.Seq > p.seq || (o.Seq == p.seq && o.Fence > p.fence)
}

// What a write does when it happens at a pointer that stands at p; nothing: it is refused.
func (p pointer) written(o Operation) (pointer, bool) {
	if o.Kind == "publish" {
		if p.newer(o) {
			return p.moved(o.Seq, o.Fence, o.Deployment), true
		}
		return p, o.Seq == p.seq && o.Fence == p.fence && o.Deployment == p.deployment
	}
	if p.exists && p.seq == o.Seq && p.deployment == o.Deployment {
		return p, true
	}
	if p.exists && p.seq == o.From && o.Seq > p.seq && p.has(o.To, o.Deployment) {
		return p.moved(o.Seq, 0, o.Deployment), true
	}
	return p, false
}

func pointerStep(state, input, _ any) []any {
	p, o := state.(pointer), input.(Operation)
	if o.Kind == "read" {
		same := p.exists && p.seq == o.Seq && p.fence == o.Fence && p.deployment == o.Deployment
		if (o.Outcome == "missing" && !p.exists) || (o.Outcome == "ok" && same) {
			return []any{p}
		}
		return nil
	}
	after, done := p.written(o)
	switch {
	case o.Outcome == "ok" && done:
		return []any{after}
	case o.Outcome == "ok":
		return nil
	case !done:
		return []any{p} // refused; or it came to nothing
	case o.Outcome == "unknown":
		return []any{after}
	default:
		// A tns node proposes again what got lost in an election. Then the first proposal may have
		// moved the pointer, somebody else moved it on, and the second one is refused.
		return []any{after}
	}
}

// A name: whose it is.
func nameStep(state, input, _ any) []any {
	owner, o := state.(string), input.(Operation)
	free := owner == "" || owner == o.Owner
	switch {
	case o.Outcome == "refused" && !free:
		return []any{owner}
	case o.Outcome == "unknown" && !free:
		return []any{owner}
	case o.Outcome != "refused" && free:
		return []any{o.Owner}
	}
	return nil
}

func model(init any, step func(state, input, output any) []any) porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init:  func() []any { return []any{init} },
		Step:  step,
		Equal: func(a, b any) bool { return a == b },
	}
	return nondeterministic.ToModel()
}

func read(path string) ([]Operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []Operation
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var o Operation
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, len(all)+1, err)
		}
		all = append(all, o)
	}
	return all, lines.Err()
}

// Lookups are answered by any replica and may be old. What a client has seen it says, and is never
// taken back from; and nobody sees what nobody wrote.
func checkLookups(key string, all []Operation) error {
	written := map[string]int64{}
	for _, o := range all {
		if o.Kind == "publish" || o.Kind == "rollback" {
			written[version(o.Seq, o.Deployment)] = o.Call
		}
	}
	seen := map[int]Operation{}
	for _, o := range all {
		if o.Kind != "lookup" {
			continue
		}
		if begun, ok := written[version(o.Seq, o.Deployment)]; !ok || begun > o.Return {
			return fmt.Errorf("%s: client %d looked up %d, which nobody had written", key, o.Client, o.Seq)
		}
		last, ok := seen[o.Client]
		if ok && (o.Seq < last.Seq || (o.Seq == last.Seq && o.Fence < last.Fence)) {
			return fmt.Errorf("%s: client %d saw %d after %d", key, o.Client, o.Seq, last.Seq)
		}
		seen[o.Client] = o
	}
	return nil
}

func check(key string, all []Operation) (porcupine.CheckResult, int) {
	var operations []porcupine.Operation
	which := model(pointer{}, pointerStep)
	for _, o := range all {
		switch {
		case o.Kind == "lookup":
			continue
		case o.Kind == "claim":
			which = model("", nameStep)
		}
		if o.Outcome == "unknown" {
			o.Return = math.MaxInt64
		}
		operations = append(operations, porcupine.Operation{
			ClientId: o.Client, Input: o, Call: o.Call, Output: nil, Return: o.Return})
	}
	return porcupine.CheckOperationsTimeout(which, operations, 2*time.Minute), len(operations)
}

func run() int {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: checker HISTORY")
		return 2
	}
	all, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Call < all[j].Call })
	byKey := map[string][]Operation{}
	for _, o := range all {
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	keys := make([]string, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	total, outcomes, code := 0, map[string]int{}, 0
	for _, o := range all {
		outcomes[o.Kind+" "+o.Outcome]++
	}
	for _, key := range keys {
		if err := checkLookups(key, byKey[key]); err != nil {
			fmt.Println(err)
			code = 1
		}
		result, operations := check(key, byKey[key])
		total += operations
		switch result {
		case porcupine.Illegal:
			fmt.Printf("%s: NOT linearizable (%d operations)\n", key, operations)
			code = 1
		case porcupine.Unknown:
			fmt.Printf("%s: not decided in time (%d operations)\n", key, operations)
			if code == 0 {
				code = 2
			}
		}
	}
	fmt.Printf("%d operations on %d pointers and names, %d lookups: %v\n", total, len(keys),
		len(all)-total, outcomes)
	if code == 0 {
		fmt.Println("linearizable")
	}
	return code
}

func main() { os.Exit(run()) }
