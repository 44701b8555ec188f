// Package chart holds the tests of the Helm chart, and writes what is generated from it: `make manifests`.
//
// Helm and kustomize are the libraries that shoalcluster is built from, so that there is no program to install.
package chart

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	root      = "../../.."
	chartDir  = root + "/charts/shoalwatch"
	base      = root + "/manifests/base"
	crds      = root + "/crds/yaml"
	namespace = "shoalwatch-system"
)

// The oldest Kubernetes that the chart says it needs.
var kubeVersion = common.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}

func load(t *testing.T) *chartv2.Chart {
	t.Helper()
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return chart
}

// tryRender renders the chart, values checked by its schema; by the name of the template.
func tryRender(chart *chartv2.Chart, values map[string]any) (map[string]string, error) {
	release := common.ReleaseOptions{Name: "shoalwatch", Namespace: namespace, Revision: 1, IsInstall: true}
	capabilities := *common.DefaultCapabilities
	capabilities.KubeVersion = kubeVersion
	all, err := util.ToRenderValues(chart, values, release, &capabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for name, text := range rendered {
		if strings.TrimSpace(text) != "" {
			files[path.Base(name)] = strings.TrimSpace(text) + "\n"
		}
	}
	return files, nil
}

func render(t *testing.T, values string) map[string]string {
	t.Helper()
	parsed := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(values), &parsed); err != nil {
		t.Fatal(err)
	}
	files, err := tryRender(load(t), parsed)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// manifests are all files but the notes, in the order of their names.
func manifests(files map[string]string) string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			all.WriteString("---\n" + strings.TrimPrefix(files[name], "---\n"))
		}
	}
	return all.String()
}

// parse reads objects, by kind, namespace and name. Two of the same are an error.
func parse(t *testing.T, text string) map[string]*unstructured.Unstructured {
	t.Helper()
	objects := map[string]*unstructured.Unstructured{}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096)
	for {
		var content map[string]any
		err := decoder.Decode(&content)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(content) == 0 {
			continue
		}
		object := &unstructured.Unstructured{Object: content}
		key := object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
		if objects[key] != nil {
			t.Fatalf("%s twice", key)
		}
		objects[key] = object
	}
}

// kustomize builds a folder as `kubectl kustomize` does.
func kustomize(t *testing.T, folder string) map[string]*unstructured.Unstructured {
	t.Helper()
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

// golden compares a file with what it should be, and writes it where SHOALWATCH_REGENERATE says so.
func golden(t *testing.T, file, wanted string) {
	t.Helper()
	if os.Getenv("SHOALWATCH_REGENERATE") != "" {
		if err := os.WriteFile(file, []byte(wanted), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	found, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: run `make manifests`", err)
	}
	if string(found) != wanted {
		t.Errorf("%s is not what the chart renders: run `make manifests`\n%s", file, firstDifference(string(found), wanted))
	}
}

func firstDifference(found, wanted string) string {
	was, is := strings.Split(found, "\n"), strings.Split(wanted, "\n")
	for number := range max(len(was), len(is)) {
		line := func(lines []string) string {
			if number < len(lines) {
				return lines[number]
			}
			return "(end)"
		}
		if line(was) != line(is) {
			return "found  " + line(was) + "\nwanted " + line(is)
		}
	}
	return ""
}
