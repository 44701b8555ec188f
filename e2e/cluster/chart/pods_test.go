package chart

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// pods are the templates of operator and node worker.
func pods(t *testing.T, values string) (operator, worker corev1.PodTemplateSpec) {
	t.Helper()
	objects := parse(t, manifests(render(t, values)))
	var set appsv1.StatefulSet
	convert(t, objects["StatefulSet "+namespace+"/shoalwatch-operator"], &set)
	var daemons appsv1.DaemonSet
	convert(t, objects["DaemonSet "+namespace+"/shoalwatch-node-worker"], &daemons)
	return set.Spec.Template, daemons.Spec.Template
}

func TestTheOperatorMeetsTheRestrictedPodSecurityStandard(t *testing.T) {
	for name, values := range variants(t) {
		operator, _ := pods(t, values)
		if refused := violations(t, operator); len(refused) > 0 {
			t.Errorf("values %q: %v", name, refused)
		}
	}
}

// What the node's eye needs and the standard forbids; anything new here is a decision.
func TestTheNodeWorkerBreaksThePodSecurityStandardWhereItMust(t *testing.T) {
	_, worker := pods(t, "")
	wanted := []string{
		"host namespaces", "restricted volume types", "runAsNonRoot != true", "runAsUser=0",
		"seccompProfile", "unrestricted capabilities",
	}
	if refused := violations(t, worker); !slices.Equal(refused, wanted) {
		t.Errorf("it breaks %v, and should break %v", refused, wanted)
	}
}

func violations(t *testing.T, pod corev1.PodTemplateSpec) []string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	refused := []string{}
	for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			refused = append(refused, result.ForbiddenReason)
		}
	}
	slices.Sort(refused)
	return slices.Compact(refused)
}

func TestTheNodeWorkerHasTheCapabilitiesThatItUsesAndNoMore(t *testing.T) {
	usual := []corev1.Capability{"BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"}
	for name, values := range variants(t) {
		wanted := usual
		if name == "legacy" {
			wanted = append(slices.Clone(usual), "SYS_RESOURCE")
		}
		_, worker := pods(t, values)
		for _, container := range worker.Spec.Containers {
			context := container.SecurityContext
			if !slices.Equal(context.Capabilities.Add, wanted) || !slices.Equal(context.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("values %q: %+v", name, context.Capabilities)
			}
			if context.Privileged != nil || *context.AllowPrivilegeEscalation || !*context.ReadOnlyRootFilesystem {
				t.Errorf("values %q: %+v", name, context)
			}
		}
		if worker.Spec.HostNetwork || worker.Spec.HostIPC {
			t.Errorf("values %q: the worker needs neither the node's network nor its IPC", name)
		}
	}
}

// The token that opens a stream is good for nothing else, and only the worker has one. The one that replicas show each other
// opens no stream.
func TestTokensAreOfOurAudiencesAndShortLived(t *testing.T) {
	operator, worker := pods(t, "")
	tokens := func(pod corev1.PodTemplateSpec) (found []corev1.ServiceAccountTokenProjection) {
		for _, volume := range pod.Spec.Volumes {
			if volume.Projected == nil {
				continue
			}
			for _, source := range volume.Projected.Sources {
				found = append(found, *source.ServiceAccountToken)
			}
		}
		return found
	}
	for audience, pod := range map[string]corev1.PodTemplateSpec{
		"shoalwatch.dev/distribution": worker,
		"shoalwatch.dev/replicas":     operator,
	} {
		found := tokens(pod)
		if len(found) != 1 || found[0].Audience != audience || *found[0].ExpirationSeconds > 3600 {
			t.Errorf("tokens of a pod that needs one for %s: %+v", audience, found)
		}
	}
}

// One replica needs neither: a budget of one pod would keep every node from being drained.
func TestSeveralReplicasAreSpreadAndDisruptedOneAtATime(t *testing.T) {
	const budget = "PodDisruptionBudget " + namespace + "/shoalwatch-operator"
	alone, _ := pods(t, "")
	if _, found := parse(t, manifests(render(t, "")))[budget]; found || alone.Spec.Affinity != nil {
		t.Error("a single replica is spread, or has a budget")
	}
	const three = "operator: {replicas: 3}"
	objects := parse(t, manifests(render(t, three)))
	var found policyv1.PodDisruptionBudget
	convert(t, objects[budget], &found)
	if found.Spec.MaxUnavailable == nil || found.Spec.MaxUnavailable.IntValue() != 1 || !selects(t, found.Spec.Selector, peers["operator"]) {
		t.Errorf("the budget: %+v", found.Spec)
	}
	several, _ := pods(t, three)
	spread := several.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution
	if len(spread) != 1 || spread[0].PodAffinityTerm.TopologyKey != "kubernetes.io/hostname" {
		t.Errorf("the replicas are not spread: %+v", spread)
	}
	own := "operator: {replicas: 3, affinity: {nodeAffinity: {}}}"
	chosen, _ := pods(t, own)
	if chosen.Spec.Affinity.PodAntiAffinity != nil {
		t.Error("an affinity of one's own is kept")
	}
}

// A worker has to find every replica, also one that is not ready: it may lead soon.
func TestTheServiceNamesEveryReplica(t *testing.T) {
	var service corev1.Service
	convert(t, parse(t, manifests(render(t, "operator: {replicas: 3}")))["Service "+namespace+"/shoalwatch-operator"], &service)
	if service.Spec.ClusterIP != "None" || !service.Spec.PublishNotReadyAddresses {
		t.Errorf("the Service: %+v", service.Spec)
	}
}

// who names a peer by what it is, for the tests below.
var peers = map[string]labels.Set{
	"operator": {"app.kubernetes.io/name": "shoalwatch", "app.kubernetes.io/component": "operator"},
	"worker":   {"app.kubernetes.io/name": "shoalwatch", "app.kubernetes.io/component": "node-worker"},
	"shop":     {"app": "checkout"},
}

func TestOnlyNodeWorkersAndReplicasReachTheStreams(t *testing.T) {
	for name, values := range variants(t) {
		objects := parse(t, manifests(render(t, values)))
		for _, asked := range []struct {
			target, peer, namespace string
			port                    int32
			allowed                 bool
		}{
			{"operator", "worker", namespace, 8443, true},
			{"operator", "operator", namespace, 8443, true},
			{"operator", "worker", "shop", 8443, false},
			{"operator", "shop", namespace, 8443, false},
			{"operator", "shop", "shop", 8443, false},
			{"operator", "shop", "shop", 8080, name != "locked"},
			{"operator", "worker", namespace, 9999, false},
			{"worker", "shop", "shop", 9464, name != "locked"},
			{"worker", "operator", namespace, 9465, false},
		} {
			var policy networkingv1.NetworkPolicy
			component := map[string]string{"operator": "shoalwatch-operator", "worker": "shoalwatch-node-worker"}[asked.target]
			convert(t, objects["NetworkPolicy "+namespace+"/"+component], &policy)
			if !selects(t, &policy.Spec.PodSelector, peers[asked.target]) {
				t.Errorf("values %q: the policy does not hold for %s", name, asked.target)
			}
			if may(t, &policy, asked.namespace, peers[asked.peer], asked.port) != asked.allowed {
				t.Errorf("values %q: %s of %s to port %d of %s should be %v", name, asked.peer, asked.namespace, asked.port, asked.target, asked.allowed)
			}
		}
	}
}

// may tells whether a policy lets a pod through, as Kubernetes documents it, for the peers that the chart makes.
func may(t *testing.T, policy *networkingv1.NetworkPolicy, home string, pod labels.Set, port int32) bool {
	t.Helper()
	for _, rule := range policy.Spec.Ingress {
		if !slices.ContainsFunc(rule.Ports, func(open networkingv1.NetworkPolicyPort) bool { return open.Port.IntVal == port }) {
			continue
		}
		for _, peer := range rule.From {
			here := home == policy.Namespace
			if peer.NamespaceSelector != nil {
				here = selects(t, peer.NamespaceSelector, labels.Set{"kubernetes.io/metadata.name": home})
			}
			if here && (peer.PodSelector == nil || selects(t, peer.PodSelector, pod)) {
				return true
			}
		}
	}
	return false
}

func selects(t *testing.T, selector *metav1.LabelSelector, of labels.Set) bool {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Matches(of)
}

func TestNetworkPoliciesCanBeLeftToSomebodyElse(t *testing.T) {
	if text := manifests(render(t, "{networkPolicy: {enabled: false}}")); strings.Contains(text, "NetworkPolicy") {
		t.Error("there are still some")
	}
}
