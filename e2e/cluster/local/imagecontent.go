package local

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is one file, folder or link of an image.
type entry struct {
	kind   byte   // A type flag of package tar.
	source string // The file on the host, or else
	text   string // the content, or the target of a link.
	mode   int64
}

// content is what an image holds, by absolute path.
type content map[string]entry

// skeleton is in every image that does not bring its own: programs look up who
// they are, and want a place for temporary files.
var skeleton = content{
	"/tmp":        {kind: tar.TypeDir, mode: 0o1777},
	"/etc/passwd": {kind: tar.TypeReg, mode: 0o644, text: "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
	"/etc/group":  {kind: tar.TypeReg, mode: 0o644, text: "root:x:0:\nnogroup:x:65534:\n"},
}

// collect gathers what an image is made of.
func collect(spec imageSpec) (content, error) {
	all := maps.Clone(skeleton)
	for _, file := range spec.files {
		if err := all.addFile(file.source, file.destination); err != nil {
			return nil, err
		}
		if spec.withLibs {
			if err := all.addLibraries(file.source); err != nil {
				return nil, err
			}
		}
	}
	for _, tree := range spec.trees {
		if err := all.addTree(tree, spec.withLibs); err != nil {
			return nil, err
		}
	}
	for path := range maps.Clone(all) {
		for folder := filepath.Dir(path); folder != "/"; folder = filepath.Dir(folder) {
			if _, ok := all[folder]; !ok {
				all[folder] = entry{kind: tar.TypeDir, mode: 0o755}
			}
		}
	}
	return all, nil
}

// addFile adds a file, or the file that a link leads to.
func (c content) addFile(source, destination string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file (for a folder use --tree)", source)
	}
	c[destination] = entry{kind: tar.TypeReg, source: source, mode: plainMode(info)}
	return nil
}

// plainMode leaves of a file's mode what a program depends on, and drops what
// the umask of the person who built the file made of it.
func plainMode(info fs.FileInfo) int64 {
	if info.Mode()&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// addTree adds a folder. Links in it stay links.
func (c content) addTree(tree mapping, withLibs bool) error {
	return filepath.WalkDir(tree.source, func(path string, item fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(tree.source, path)
		if err != nil {
			return err
		}
		destination := filepath.Join(tree.destination, relative)
		switch {
		case destination == "/":
			return nil
		case item.IsDir():
			c[destination] = entry{kind: tar.TypeDir, mode: 0o755}
			return nil
		case item.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			c[destination] = entry{kind: tar.TypeSymlink, text: target, mode: 0o777}
			return err
		case !item.Type().IsRegular():
			return fmt.Errorf("%s is neither a file, a folder nor a link", path)
		}
		if err := c.addFile(path, destination); err != nil || !withLibs {
			return err
		}
		return c.addLibraries(path)
	})
}

// write writes the content as a layer.
func (c content) write(out io.Writer) error {
	layer := tar.NewWriter(out)
	for _, path := range slices.Sorted(maps.Keys(c)) {
		if err := c[path].write(layer, strings.TrimPrefix(path, "/")); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return layer.Close()
}

func (e entry) write(layer *tar.Writer, name string) error {
	header := &tar.Header{Typeflag: e.kind, Name: name, Mode: e.mode, ModTime: time.Unix(0, 0)}
	var from io.Reader = strings.NewReader("")
	switch {
	case e.kind == tar.TypeDir:
		header.Name += "/"
	case e.kind == tar.TypeSymlink:
		header.Linkname = e.text
	case e.source == "":
		header.Size = int64(len(e.text))
		from = strings.NewReader(e.text)
	default:
		file, err := os.Open(e.source)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		header.Size = info.Size()
		from = file
	}
	if err := layer.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(layer, from)
	return err
}
