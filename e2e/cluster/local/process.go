package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// recordFile also marks a folder as a cluster's.
	recordFile = "pids.json"
	// markerVariable is in the environment of every process of a node, and
	// inherited by the containerd-shims, which nobody records.
	markerVariable = "SHOALCLUSTER_NODE"
)

// process identifies one process for good: a pid alone may be given to another
// process later, but not with the same start time in the same boot.
type process struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Start uint64 `json:"startTime"`
}

// record is the content of pids.json.
type record struct {
	BootID    string    `json:"bootID"`
	Processes []process `json:"processes"`
}

// newProcess returns the identity of a live process.
func newProcess(name string, pid int) (process, error) {
	start, _, err := processStart(pid)
	return process{name, pid, start}, err
}

// processStart returns when a process started, in clock ticks since boot, and
// whether it is a zombie: dead, and only waiting for its parent to notice.
func processStart(pid int) (start uint64, zombie bool, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	// The second field is the command in parentheses, and may hold spaces and
	// parentheses itself: count fields from its end. State is field 3, start
	// time field 22.
	end := bytes.LastIndexByte(data, ')')
	fields := strings.Fields(string(data[end+1:]))
	if end < 0 || len(fields) < 20 {
		return 0, false, fmt.Errorf("/proc/%d/stat: not understood: %q", pid, data)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return start, fields[0] == "Z" || fields[0] == "X", err
}

// alive says whether this very process, not another with its pid, still runs.
func (p process) alive() bool {
	start, zombie, err := processStart(p.PID)
	return err == nil && !zombie && start == p.Start
}

// kill ends the process if it is the one that was recorded. FindProcess holds
// a pidfd, and the start time is read after that: the signal cannot reach
// another process even if this one ends in between.
func (p process) kill() error {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return nil
	}
	defer handle.Release()
	if !p.alive() {
		return nil
	}
	err = handle.Signal(unix.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

// readRecord returns the processes recorded by an earlier "up". A record of
// another boot, or one that a crash left half written, names nothing.
func readRecord(path string) []process {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var r record
	if json.Unmarshal(data, &r) != nil || r.BootID != bootID() {
		return nil
	}
	return r.Processes
}

// writeRecord replaces the record in one step, so a reader sees it whole.
func writeRecord(path string, processes []process) error {
	data, err := json.MarshalIndent(record{bootID(), processes}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// markedProcesses returns the processes that carry the marker of a cluster:
// components that were started but not recorded when "up" was killed, and the
// shims of its containerd.
func markedProcesses(clusterName string) []process {
	var found []process
	marker := []byte("\x00" + markerVariable + "=" + clusterName + "\x00")
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, err := newProcess("", pid)
		if err != nil {
			continue
		}
		environment, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err != nil || !bytes.Contains(append([]byte{0}, environment...), marker) {
			continue
		}
		// Still the process that was looked at, not one that took its pid.
		if p.alive() {
			p.Name = processName(pid)
			found = append(found, p)
		}
	}
	return found
}

func processName(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(data))
}

// killAll ends what list returns, until it returns nothing that is alive.
func killAll(list func() []process, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		var left []string
		for _, p := range list() {
			if !p.alive() {
				continue
			}
			if err := p.kill(); err != nil {
				return fmt.Errorf("cannot end %s (pid %d): %w", p.Name, p.PID, err)
			}
			left = append(left, fmt.Sprintf("%s (pid %d)", p.Name, p.PID))
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still running after SIGKILL: %s", strings.Join(left, ", "))
		}
		time.Sleep(20 * time.Millisecond)
	}
}
