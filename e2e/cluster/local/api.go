package local

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// api is what "up" needs of a Kubernetes client.
type api struct{ client *http.Client }

// newAPI returns a client with the administrator's certificate in the folder pki.
func newAPI(pki string) (*api, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(pki, "admin.crt"), filepath.Join(pki, "admin.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &api{&http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			RootCAs:      roots,
			MinVersion:   tls.VersionTLS12,
		}},
	}}, nil
}

// request returns the body of a successful answer. A body to send is made JSON.
func (a *api) request(method, path string, send any) ([]byte, error) {
	var body io.Reader
	if send != nil {
		data, err := json.Marshal(send)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequest(method, apiServerURL+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return answer(a.client.Do(request))
}

func answer(response *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return body, err
}

// ready asks the API server whether it serves.
func (a *api) ready() error {
	_, err := a.request("GET", "/readyz", nil)
	return err
}

// nodeReady asks whether pods can be scheduled onto the node: Ready is not
// enough, the taint of a node that was not ready has to be gone as well.
func (a *api) nodeReady() error {
	body, err := a.request("GET", "/api/v1/nodes/"+nodeName, nil)
	if err != nil {
		return err
	}
	var node struct {
		Spec struct {
			Taints []struct{ Key string }
		}
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(body, &node); err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type != "Ready" {
			continue
		}
		if condition.Status != "True" {
			return errors.New("the node is not ready: " + condition.Message)
		}
		for _, taint := range node.Spec.Taints {
			if strings.HasPrefix(taint.Key, "node.kubernetes.io/") {
				return errors.New("the node still has the taint " + taint.Key)
			}
		}
		return nil
	}
	return errors.New("the node has not reported yet")
}

// accountReady asks for what the first pod in the default namespace needs.
func (a *api) accountReady() error {
	if _, err := a.request("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", nil); err != nil {
		return err
	}
	_, err := a.request("GET", "/api/v1/namespaces/default/serviceaccounts/default", nil)
	return err
}

// allowDNS lets CoreDNS read what it answers from.
func (a *api) allowDNS() error {
	const group = "rbac.authorization.k8s.io"
	type object = map[string]any
	metadata := object{"name": "system:coredns"}
	verbs := []string{"list", "watch"}
	_, err := a.request("POST", "/apis/"+group+"/v1/clusterroles", object{
		"apiVersion": group + "/v1", "kind": "ClusterRole", "metadata": metadata,
		"rules": []object{
			{"apiGroups": []string{""}, "resources": []string{"services", "pods", "namespaces"}, "verbs": verbs},
			{"apiGroups": []string{"discovery.k8s.io"}, "resources": []string{"endpointslices"}, "verbs": verbs},
		},
	})
	if err != nil {
		return err
	}
	_, err = a.request("POST", "/apis/"+group+"/v1/clusterrolebindings", object{
		"apiVersion": group + "/v1", "kind": "ClusterRoleBinding", "metadata": metadata,
		"roleRef":  object{"apiGroup": group, "kind": "ClusterRole", "name": "system:coredns"},
		"subjects": []object{{"apiGroup": group, "kind": "User", "name": "system:coredns"}},
	})
	return err
}

// healthy returns a check that a component's own endpoint on loopback answers.
func healthy(url string) func() error {
	client := &http.Client{
		Timeout: 2 * time.Second,
		// The scheduler signs its own certificate; nobody else is on this loopback.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	return func() error {
		_, err := answer(client.Get(url))
		return err
	}
}
