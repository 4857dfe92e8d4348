// Command letagentpay-mock is the LetAgentPay service in a box: the server of package letagentpaytest as a program, for
// tests in other languages and for local work. A control API takes the place of that package's methods.
//
//	go run github.com/letagentpay/letagentpay-go/cmd/letagentpay-mock -help
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

// exchangeTimeout bounds one call from its first byte to the last of its answer. It is long because an injected fault
// may be slow on purpose.
const exchangeTimeout = 10 * time.Minute

// shutdownGrace is how long calls in flight may take to end after a signal.
const shutdownGrace = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the program until ctx ends, and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fail := func(code int, err error) int {
		fmt.Fprintln(stderr, "letagentpay-mock:", plain(err))
		if code == 2 {
			fmt.Fprintln(stderr, "See letagentpay-mock -help.")
		}
		return code
	}
	s, err := parseArgs(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage())
		return 0
	}
	if err != nil {
		return fail(2, err)
	}
	service, err := s.start()
	if err != nil {
		return fail(2, err)
	}
	defer service.Close()
	listener, err := net.ListenTCP("tcp", s.addr)
	if err != nil {
		return fail(1, err)
	}
	defer listener.Close()
	root := "http://" + reachable(listener.Addr().(*net.TCPAddr))
	if err := json.NewEncoder(stdout).Encode(map[string]string{
		"base_url": root + agentAPI, "token": service.Agents()[0].Token, "control_url": root + controlPrefix,
	}); err != nil {
		return fail(1, err)
	}
	server := &http.Server{
		Handler:           s.handler(service),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       exchangeTimeout, // not shorter: it ends calls, even those whose request is read completely
		WriteTimeout:      exchangeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(stderr, "letagentpay-mock: ", 0),
	}
	if err := serve(ctx, server, listener, shutdownGrace, service.Close); err != nil {
		return fail(1, err)
	}
	return 0
}

// settings holds the values of the command line.
type settings struct {
	addr     *net.TCPAddr
	loopback bool
	scenario string // the name of a file; empty is none
	token    string
	races    *letagentpaytest.Races // nil: none
}

func parseArgs(args []string) (*settings, error) {
	var s settings
	flags := flag.NewFlagSet("letagentpay-mock", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error or the usage text
	addr := flags.String("addr", "127.0.0.1:8787", "")
	flags.StringVar(&s.scenario, "scenario", "", "")
	flags.StringVar(&s.token, "token", "", "")
	flags.Func("races", "", func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		if d < 0 || d > maxDelay {
			return fmt.Errorf("want a time from 0s to %v", maxDelay)
		}
		s.races = &letagentpaytest.Races{Purchase: d, Confirm: d}
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	var err error
	if s.addr, err = net.ResolveTCPAddr("tcp", *addr); err != nil {
		return nil, fmt.Errorf("-addr %q: %w", *addr, err)
	}
	s.loopback = s.addr.IP.IsLoopback() // false without a host, which means every interface
	if !s.loopback && s.token == "" {
		return nil, fmt.Errorf("-addr %q is not loopback, so others could control the server: give a -token", *addr)
	}
	return &s, nil
}

// start starts the service with these settings.
func (s *settings) start() (*letagentpaytest.Server, error) {
	options := []letagentpaytest.Option{letagentpaytest.InMemory()} // run serves it
	if s.token != "" {
		options = append(options, letagentpaytest.WithToken(s.token))
	}
	if s.races != nil {
		options = append(options, letagentpaytest.WithServiceRaces(*s.races))
	}
	var scenario *letagentpaytest.Scenario
	if s.scenario != "" {
		data, err := os.ReadFile(s.scenario)
		if err != nil {
			return nil, fmt.Errorf("-scenario: %w", err)
		}
		if scenario, err = decodeScenario(data); err != nil {
			return nil, fmt.Errorf("-scenario %s: %w", s.scenario, err)
		}
	}
	service, err := letagentpaytest.Start(options...)
	if err != nil {
		return nil, err
	}
	if scenario != nil {
		if err := service.ApplyScenario(*scenario); err != nil {
			service.Close()
			return nil, fmt.Errorf("-scenario %s: %w", s.scenario, err)
		}
	}
	return service, nil
}

// handler serves the API, the control API and the documents.
func (s *settings) handler(service *letagentpaytest.Server) http.Handler {
	api, documents := service.Handler(), documentHandlers()
	control := http.Handler(newControl(service))
	if !s.loopback {
		control = requireToken(s.token, control)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == controlPrefix, strings.HasPrefix(path, controlPrefix+"/"):
			control.ServeHTTP(w, r)
		case documents[path] != nil:
			documents[path].ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// reachable returns an address that a client on this machine can call.
func reachable(addr *net.TCPAddr) string {
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", addr.Port)
	}
	return addr.String()
}

// serve answers calls until ctx ends. Calls in flight may then continue for the grace period, before cutOff ends them.
func serve(ctx context.Context, server *http.Server, listener net.Listener, grace time.Duration, cutOff func()) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(patience)
	if errors.Is(err, context.DeadlineExceeded) {
		cutOff()
		err = server.Close()
	}
	<-served // always http.ErrServerClosed
	return err
}
