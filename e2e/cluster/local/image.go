package local

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// imageSpec says what an image is made of.
type imageSpec struct {
	name       string
	entrypoint []string
	command    []string
	env        []string
	user       string
	workdir    string
	files      []mapping // Single files.
	trees      []mapping // Folders with all that is in them.
	withLibs   bool      // Add the shared libraries that the programs need.
}

// mapping puts something of the host somewhere in the image.
type mapping struct{ source, destination string }

// imageConfig is the part of an OCI image configuration that is set here.
type imageConfig struct {
	Architecture string          `json:"architecture"`
	OS           string          `json:"os"`
	Config       containerConfig `json:"config"`
	RootFS       rootFS          `json:"rootfs"`
}

type containerConfig struct {
	User       string   `json:"User,omitempty"`
	Env        []string `json:"Env,omitempty"`
	Entrypoint []string `json:"Entrypoint,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
	WorkingDir string   `json:"WorkingDir,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// writeImage writes an image archive of one layer. The same content gives the
// same bytes: entries are sorted and carry no times, owners or umask.
func writeImage(out string, spec imageSpec) error {
	content, err := collect(spec)
	if err != nil {
		return err
	}
	// The layer's size and hash come before it in the archive.
	layer, err := os.CreateTemp(filepath.Dir(out), ".layer-*")
	if err != nil {
		return err
	}
	defer os.Remove(layer.Name())
	defer layer.Close()
	sum := sha256.New()
	if err := content.write(io.MultiWriter(layer, sum)); err != nil {
		return err
	}
	layerID := fmt.Sprintf("%x", sum.Sum(nil))
	env := spec.env
	if !hasVariable(env, "PATH") {
		env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, env...)
	}
	config, err := json.Marshal(imageConfig{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       containerConfig{spec.user, env, spec.entrypoint, spec.command, spec.workdir},
		RootFS:       rootFS{"layers", []string{"sha256:" + layerID}},
	})
	if err != nil {
		return err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	layerName := layerID + "/layer.tar"
	manifest, err := json.Marshal([]map[string]any{{
		"Config":   configName,
		"RepoTags": []string{spec.name},
		"Layers":   []string{layerName},
	}})
	if err != nil {
		return err
	}
	return writeArchive(out, func(archive *tar.Writer) error {
		if err := addBytes(archive, configName, config); err != nil {
			return err
		}
		if err := addOpenFile(archive, layerName, layer); err != nil {
			return err
		}
		return addBytes(archive, "manifest.json", manifest)
	})
}

// writeArchive writes beside out first: a failure leaves no half archive.
func writeArchive(out string, fill func(*tar.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(out), ".image-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	archive := tar.NewWriter(file)
	if err := fill(archive); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), out)
}

func addBytes(archive *tar.Writer, name string, data []byte) error {
	err := archive.WriteHeader(&tar.Header{
		Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0),
	})
	if err != nil {
		return err
	}
	_, err = archive.Write(data)
	return err
}

func addOpenFile(archive *tar.Writer, name string, file *os.File) error {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	err = archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)})
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

func hasVariable(env []string, name string) bool {
	for _, variable := range env {
		if strings.HasPrefix(variable, name+"=") {
			return true
		}
	}
	return false
}
