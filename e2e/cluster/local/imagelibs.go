package local

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// addLibraries adds the shared libraries that a program or library needs, each
// under the path at which the loader of the host finds it.
func (c content) addLibraries(program string) error {
	if !isDynamic(program) {
		return nil
	}
	output, err := exec.Command("ldd", program).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ldd %s: %w: %s", program, err, output)
	}
	libraries, missing := parseLdd(string(output))
	if len(missing) > 0 {
		// Programs may do without: plug-ins name libraries that are optional.
		fmt.Fprintf(os.Stderr, "shoalcluster image: warning: %s needs %s, which this machine has not\n", program, strings.Join(missing, ", "))
	}
	for _, library := range libraries {
		if _, ok := c[library]; ok {
			continue
		}
		if err := c.addFile(library, library); err != nil {
			return err
		}
	}
	return nil
}

// isDynamic says whether a file is an ELF program or library that names others.
func isDynamic(path string) bool {
	file, err := elf.Open(path)
	if err != nil {
		return false // A script, data, or not readable: the copy will tell.
	}
	defer file.Close()
	needed, err := file.ImportedLibraries()
	if err == nil && len(needed) > 0 {
		return true
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return true
		}
	}
	return false
}

// parseLdd reads lines such as
//
//	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f...)
//	/lib64/ld-linux-x86-64.so.2 (0x00007f...)
//	libodd.so => not found
//	linux-vdso.so.1 (0x00007f...)
func parseLdd(output string) (libraries, missing []string) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		name, target, arrow := strings.Cut(line, " => ")
		if !arrow {
			target = line
		}
		path, _, _ := strings.Cut(target, " (")
		switch {
		case arrow && strings.HasPrefix(target, "not found"):
			missing = append(missing, name)
		case strings.HasPrefix(path, "/"):
			libraries = append(libraries, path)
		}
	}
	return libraries, missing
}
