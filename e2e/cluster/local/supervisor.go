package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// pollInterval is how often a state is looked at that is waited for.
const pollInterval = 50 * time.Millisecond

// supervisor starts the components of a node and watches them until the node
// is ready. It records each one, for the commands that come later.
type supervisor struct {
	progress
	cluster  *Cluster
	deadline time.Time

	mutex    sync.Mutex
	recorded []process
	failed   chan error // The first component that ended.
}

// start starts a component in a session of its own, so that no signal of the
// terminal reaches it, with its output in a log file.
func (s *supervisor) start(command []string) error {
	name := filepath.Base(command[0])
	log, err := os.OpenFile(logPath(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	component := exec.Command(command[0], command[1:]...)
	component.Dir = "/"
	component.Stdout, component.Stderr = log, log
	component.Env = []string{
		"PATH=" + nodePath,
		"HOME=/root",
		markerVariable + "=" + s.cluster.Name,
	}
	component.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := component.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	if err := s.record(name, component.Process.Pid); err != nil {
		return err
	}
	go func() {
		err := component.Wait()
		ended := fmt.Errorf("%s ended: %v\n%s", name, err, s.tail(name))
		select {
		case s.failed <- ended:
		default: // Another one ended before; this is likely a consequence.
		}
	}()
	return nil
}

func (s *supervisor) record(name string, pid int) error {
	p, err := newProcess(name, pid)
	if err != nil {
		return fmt.Errorf("%s ended at once: %w", name, err)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.recorded = append(s.recorded, p)
	return writeRecord(filepath.Join(nodeRoot, recordFile), s.recorded)
}

// await polls check until it passes. It gives up at the deadline, or when a
// component ends. The log of the component that is waited for tells the cause.
func (s *supervisor) await(what, component string, check func() error) error {
	for {
		err := check()
		if err == nil {
			s.printf("%s", what)
			return nil
		}
		if time.Now().After(s.deadline) {
			return fmt.Errorf("timed out waiting for %q; the last answer was: %w\n%s", what, err, s.tail(component))
		}
		select {
		case failure := <-s.failed:
			s.failed <- failure // Other waits shall see it as well.
			return failure
		case <-time.After(pollInterval):
		}
	}
}

// tail returns the last lines of a component's log.
func (s *supervisor) tail(component string) string {
	const lines = 15
	text := "(nothing)"
	if data, err := os.ReadFile(logPath(component)); err == nil && len(data) > 0 {
		all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
		text = strings.Join(all[max(0, len(all)-lines):], "\n")
	}
	return fmt.Sprintf("--- the end of %s:\n%s", s.cluster.path("log", component+".log"), text)
}

func logPath(component string) string {
	return filepath.Join(nodeRoot, "log", component+".log")
}

// inParallel runs functions at the same time and returns the first error.
func inParallel(functions ...func() error) error {
	results := make(chan error, len(functions))
	for _, function := range functions {
		go func() { results <- function() }()
	}
	for range functions {
		if err := <-results; err != nil {
			return err
		}
	}
	return nil
}
