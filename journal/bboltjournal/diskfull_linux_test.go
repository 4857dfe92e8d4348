package bboltjournal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/letagentpay/letagentpay-go"
	"github.com/letagentpay/letagentpay-go/journal/bboltjournal"
	"github.com/letagentpay/letagentpay-go/letagentpaytest"
)

func init() { children["fulldisk"] = fullDiskChild }

// The other process has a file system of its own, which ends with it.
func TestADiskThatIsFullAtAnyWrite(t *testing.T) {
	command := child(t, "fulldisk", envPath+"="+t.TempDir())
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Skip("no process with file systems of its own: ", err)
	}
	require.NoError(t, command.Wait(), output.String())
	if strings.HasPrefix(output.String(), cannotMount) {
		t.Skip(output.String())
	}
	require.Equal(t, "ok", output.String())
}

const cannotMount = "cannot mount: "

func fullDiskChild() {
	folder := os.Getenv(envPath)
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=200k"); err != nil {
		fmt.Print(cannotMount, err)
		return
	}
	if err := fillDisk(filepath.Join(folder, "journal")); err != nil {
		fmt.Print(err)
		return
	}
	fmt.Print("ok")
}

// fillDisk buys until the journal takes nothing more, and then looks whether the books agree.
func fillDisk(path string) error {
	server, err := letagentpaytest.Start(letagentpaytest.InMemory(),
		letagentpaytest.WithPolicyJSON(`{"auto_approve": {"enabled": true}}`))
	if err != nil {
		return err
	}
	defer server.Close()
	journal, err := bboltjournal.Open(path)
	if err != nil {
		return err
	}
	refused, err := buyUntilRefused(server, journal)
	if err := errors.Join(err, journal.Close()); err != nil {
		return err
	}
	again, err := bboltjournal.Open(path)
	if err != nil {
		return fmt.Errorf("after %d refusals: %w", refused, err)
	}
	defer again.Close()
	for _, err := range again.Entries(context.Background()) {
		if err != nil {
			return err
		}
	}
	_, err = server.Client(quiet).Recover(context.Background(), again) // in which nothing can be written, perhaps
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return nil
}

// quiet keeps what a full disk is reported with out of the child's output.
var quiet = letagentpay.WithLogger(slog.New(slog.DiscardHandler))

func buyUntilRefused(server *letagentpaytest.Server, journal journalStore) (refused int, err error) {
	runs := 0
	buy := letagentpay.Guard(server.Client(quiet), func(string) letagentpay.PurchaseParams {
		return letagentpay.PurchaseParams{Amount: letagentpay.MustAmount("0.01"), Category: "other"}
	}, func(context.Context, string) (string, error) {
		runs++
		return strings.Repeat("x", 4000), nil
	}, letagentpay.WithJournal(journal))
	for range 80 {
		before := runs
		_, err := buy(context.Background(), "")
		var failed *letagentpay.JournalError
		switch {
		case err == nil && runs == before+1:
		case !errors.As(err, &failed):
			return refused, fmt.Errorf("after %d runs: %w", runs, err)
		case !errors.Is(err, syscall.ENOSPC):
			return refused, err
		case runs == before:
			refused++
		case failed.State != stateReturned && failed.State != stateSettled:
			return refused, fmt.Errorf("it ran, and says that it has not: %w", err)
		}
	}
	completed := 0
	for _, request := range server.Requests() {
		if request.Status == letagentpay.StatusCompleted {
			completed++
		}
	}
	if refused == 0 || runs == 0 || completed != runs {
		return refused, fmt.Errorf("%d runs, %d of them confirmed; %d refusals", runs, completed, refused)
	}
	return refused, nil
}
