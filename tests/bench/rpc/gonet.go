// The peer of the benchmark in Go: net/rpc with gob, as in the lecture. Only the standard library.
//
//	gonet server ADDRESS                 prints "listening on ADDRESS", serves until standard input ends
//	gonet client ADDRESS latency SEC     calls one after another
//	gonet client ADDRESS calls SEC COUNT COUNT calls under way at any time (client.Go)
//	gonet client ADDRESS idle COUNT      COUNT connections, a call on each; they last until stdin ends
package main

import (
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"sort"
	"strconv"
	"time"
)

const sentence = "hello I am good hello bye bye bye good night hello"
const warmUp = 200 * time.Millisecond

type Payload struct{ Data []byte }

type Bench struct{}

func (*Bench) Echo(request Payload, reply *Payload) error {
	reply.Data = request.Data
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "gonet:", err)
		os.Exit(1)
	}
}

func number(at int) float64 {
	if len(os.Args) <= at {
		check(fmt.Errorf("an argument is missing"))
	}
	value, err := strconv.ParseFloat(os.Args[at], 64)
	check(err)
	return value
}

func seconds(at int) time.Duration { return time.Duration(number(at) * float64(time.Second)) }

func serve(address string) {
	check(rpc.Register(new(Bench)))
	listener, err := net.Listen("tcp", address)
	check(err)
	go rpc.Accept(listener)
	fmt.Println("listening on", listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}

func latency(client *rpc.Client, length time.Duration) {
	var took []time.Duration
	request := Payload{[]byte(sentence)}
	start := time.Now().Add(warmUp)
	for now := time.Now(); now.Before(start.Add(length)); {
		var reply Payload
		check(client.Call("Bench.Echo", request, &reply))
		after := time.Now()
		if !now.Before(start) {
			took = append(took, after.Sub(now))
		}
		now = after
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	last := len(took) - 1
	fmt.Printf("{\"calls\": %d, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", len(took),
		float64(took[last/2])/1e3, float64(took[last*99/100])/1e3)
}

func keepBusy(client *rpc.Client, length time.Duration, count int) (int, float64) {
	done := make(chan *rpc.Call, count)
	request := Payload{[]byte(sentence)}
	start := time.Now()
	calls, outstanding := 0, 0
	for ; outstanding < count; outstanding++ {
		client.Go("Bench.Echo", request, new(Payload), done)
	}
	for outstanding > 0 {
		call := <-done
		check(call.Error)
		calls++
		if time.Since(start) < length {
			client.Go("Bench.Echo", request, new(Payload), done)
		} else {
			outstanding--
		}
	}
	return calls, float64(calls) / time.Since(start).Seconds()
}

func idle(address string, count int) {
	clients := make([]*rpc.Client, count)
	for i := range clients {
		var reply Payload
		client, err := rpc.Dial("tcp", address)
		check(err)
		check(client.Call("Bench.Echo", Payload{[]byte(sentence)}, &reply))
		clients[i] = client
	}
	fmt.Printf("{\"connections\": %d}\n", len(clients))
	io.Copy(io.Discard, os.Stdin)
}

func main() {
	if len(os.Args) < 3 {
		check(fmt.Errorf("usage: gonet server ADDRESS | gonet client ADDRESS latency|calls|idle ..."))
	}
	if os.Args[1] == "server" {
		serve(os.Args[2])
		return
	}
	if os.Args[3] == "idle" {
		idle(os.Args[2], int(number(4)))
		return
	}
	client, err := rpc.Dial("tcp", os.Args[2])
	check(err)
	if os.Args[3] == "latency" {
		latency(client, seconds(4))
	} else {
		before, _ := keepBusy(client, warmUp, int(number(5)))
		calls, rate := keepBusy(client, seconds(4), int(number(5)))
		fmt.Printf("{\"calls\": %d, \"per_s\": %.0f}\n", before+calls, rate)
	}
}
