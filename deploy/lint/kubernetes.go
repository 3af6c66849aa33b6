package main

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const kubernetesDir = "kubernetes"

// kustomization is what is used of a kustomization.yaml; anything else is a complaint.
type kustomization struct {
	metav1.TypeMeta `json:",inline"`
	Namespace       string   `json:"namespace"`
	Resources       []string `json:"resources"`
	Images          []struct {
		Name    string `json:"name"`
		NewName string `json:"newName"`
		NewTag  string `json:"newTag"`
	} `json:"images"`
}

// manifests is what was read.
type manifests struct {
	*linter
	sets       []*appsv1.StatefulSet
	services   []*corev1.Service
	budgets    []*policyv1.PodDisruptionBudget
	policies   []*networkingv1.NetworkPolicy
	secrets    []*corev1.Secret
	namespaces []*corev1.Namespace
	kustom     []*kustomization
}

func (l *linter) kubernetes(ctx context.Context) error {
	m := &manifests{linter: l}
	files, err := filepath.Glob(filepath.Join(l.dir, kubernetesDir, "*.yaml"))
	if err != nil {
		return err
	}
	var names []string
	for _, path := range files {
		name := filepath.Base(path)
		text, err := l.read(filepath.Join(kubernetesDir, name))
		if err != nil {
			return err
		}
		for document := range strings.SplitSeq(text, "\n---\n") {
			m.decode(name, document)
		}
		if name != "kustomization.yaml" && !strings.Contains(name, "example") {
			names = append(names, name)
		}
	}
	if len(m.kustom) != 1 || len(m.sets) != 1 {
		l.complain(kubernetesDir, "%d kustomizations and %d stateful sets instead of one each", len(m.kustom), len(m.sets))
		return nil
	}
	slices.Sort(names)
	if listed := slices.Sorted(slices.Values(m.kustom[0].Resources)); !slices.Equal(names, listed) {
		l.complain("kustomization.yaml", "lists %q, and there are %q", listed, names)
	}
	m.check(ctx, m.sets[0])
	return nil
}

// decode reads one object strictly: fields that there are not, in this spelling, are complaints.
func (m *manifests) decode(file, text string) {
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		m.complain(file, "%v", err)
		return
	}
	var kind metav1.TypeMeta
	if err := json.UnmarshalCaseSensitivePreserveInts(data, &kind); err != nil {
		m.complain(file, "%v", err)
		return
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 StatefulSet":
		m.sets = append(m.sets, strict[appsv1.StatefulSet](m, file, data))
	case "v1 Service":
		m.services = append(m.services, strict[corev1.Service](m, file, data))
	case "v1 Secret":
		m.secrets = append(m.secrets, strict[corev1.Secret](m, file, data))
	case "v1 Namespace":
		m.namespaces = append(m.namespaces, strict[corev1.Namespace](m, file, data))
	case "policy/v1 PodDisruptionBudget":
		m.budgets = append(m.budgets, strict[policyv1.PodDisruptionBudget](m, file, data))
	case "networking.k8s.io/v1 NetworkPolicy":
		m.policies = append(m.policies, strict[networkingv1.NetworkPolicy](m, file, data))
	case "kustomize.config.k8s.io/v1beta1 Kustomization":
		m.kustom = append(m.kustom, strict[kustomization](m, file, data))
	default:
		m.complain(file, "there is no %s of %s here", kind.Kind, kind.APIVersion)
	}
}

func strict[T any](m *manifests, file string, data []byte) *T {
	into := new(T)
	wrong, err := json.UnmarshalStrict(data, into)
	for _, err := range append(wrong, err) {
		if err != nil {
			m.complain(file, "%v", err)
		}
	}
	return into
}

// check holds the objects against each other. The set is what all others are about.
func (m *manifests) check(ctx context.Context, set *appsv1.StatefulSet) {
	const file = "statefulset.yaml"
	pod := set.Spec.Template
	if len(pod.Spec.Containers) != 1 {
		m.complain(file, "%d containers instead of one", len(pod.Spec.Containers))
		return
	}
	container := pod.Spec.Containers[0]
	ports := make(map[string]corev1.ContainerPort)
	for _, p := range container.Ports {
		ports[p.Name] = p
	}
	m.selects(file, set.Spec.Selector, pod.Labels)
	m.placed(file, pod)
	m.restricted(file, pod.Spec)
	m.mounted(file, set)
	m.probes(file, container, ports)
	m.stops(file, pod.Spec)
	m.found(file, set, ports)
	for _, s := range m.services {
		m.service(s, pod.Labels, ports)
	}
	for _, b := range m.budgets {
		m.selects("disruption.yaml", b.Spec.Selector, pod.Labels)
		if b.Spec.MaxUnavailable == nil || *b.Spec.MaxUnavailable != intstr.FromInt32(1) {
			m.complain("disruption.yaml", "more than one node, or none, may be away")
		}
	}
	for _, p := range m.policies {
		m.policy(p, pod.Labels, ports)
	}
	if len(m.budgets) != 1 || len(m.policies) != 1 || len(m.namespaces) != 1 {
		m.complain(kubernetesDir, "%d budgets, %d policies and %d namespaces instead of one each", len(m.budgets), len(m.policies), len(m.namespaces))
	} else if m.namespaces[0].Name != m.kustom[0].Namespace {
		m.complain("kustomization.yaml", "the namespace is %s, and there is %s", m.kustom[0].Namespace, m.namespaces[0].Name)
	}
	if len(m.kustom[0].Images) != 1 || m.kustom[0].Images[0].Name != container.Image {
		m.complain("kustomization.yaml", "replaces another image than %s", container.Image)
	}
	m.arguments(ctx, file, container)
}

// selects complains if a selector is not for the pods.
func (m *manifests) selects(file string, selector *metav1.LabelSelector, of map[string]string) {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || s.Empty() || !s.Matches(labels.Set(of)) {
		m.complain(file, "the selector %v does not select the pods, whose labels are %v", selector, of)
	}
}

// placed looks at what keeps the pods apart.
func (m *manifests) placed(file string, pod corev1.PodTemplateSpec) {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.PodAntiAffinity == nil || len(pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) == 0 {
		m.complain(file, "nothing keeps two pods from one machine")
	} else {
		for _, term := range pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			m.selects(file, term.LabelSelector, pod.Labels)
		}
	}
	for _, c := range pod.Spec.TopologySpreadConstraints {
		m.selects(file, c.LabelSelector, pod.Labels)
		if c.WhenUnsatisfiable != corev1.ScheduleAnyway && c.WhenUnsatisfiable != corev1.DoNotSchedule {
			m.complain(file, "whenUnsatisfiable %q", c.WhenUnsatisfiable)
		}
	}
}

// restricted holds the pod to the standard of that name, and to a file system that it can't write.
func (m *manifests) restricted(file string, pod corev1.PodSpec) {
	is := func(b *bool, want bool) bool { return b != nil && *b == want }
	p, c := pod.SecurityContext, pod.Containers[0].SecurityContext
	for what, ok := range map[string]bool{
		"runAsNonRoot is not set":                 p != nil && is(p.RunAsNonRoot, true),
		"runAsUser is not the image's":            p != nil && p.RunAsUser != nil && *p.RunAsUser == imageUser,
		"fsGroup is not the image's":              p != nil && p.FSGroup != nil && *p.FSGroup == imageUser,
		"the seccomp profile is not the default":  p != nil && p.SeccompProfile != nil && p.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
		"privileges may grow":                     c != nil && is(c.AllowPrivilegeEscalation, false),
		"the root file system can be written":     c != nil && is(c.ReadOnlyRootFilesystem, true),
		"not all capabilities are dropped":        c != nil && c.Capabilities != nil && slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) && len(c.Capabilities.Add) == 0,
		"a token of the API server is mounted":    is(pod.AutomountServiceAccountToken, false),
		"services' variables look like settings":  is(pod.EnableServiceLinks, false),
		"the pod shares something of its machine": !pod.HostNetwork && !pod.HostPID && !pod.HostIPC,
	} {
		if !ok {
			m.complain(file, "%s", what)
		}
	}
}

// mounted holds mounts against volumes and claims, and secrets against the example.
func (m *manifests) mounted(file string, set *appsv1.StatefulSet) {
	there := make(map[string]bool)
	for _, claim := range set.Spec.VolumeClaimTemplates {
		there[claim.Name] = true
	}
	for _, v := range set.Spec.Template.Spec.Volumes {
		there[v.Name] = true
		if v.Secret != nil && !slices.ContainsFunc(m.secrets, func(s *corev1.Secret) bool {
			return s.Name == v.Secret.SecretName && s.Namespace == m.kustom[0].Namespace
		}) {
			m.complain(file, "there is no example of the secret %s", v.Secret.SecretName)
		}
	}
	for _, mount := range set.Spec.Template.Spec.Containers[0].VolumeMounts {
		if !there[mount.Name] {
			m.complain(file, "there is no volume %s", mount.Name)
		}
		delete(there, mount.Name)
	}
	for name := range there {
		m.complain(file, "the volume %s is mounted nowhere", name)
	}
}

func (m *manifests) probes(file string, c corev1.Container, ports map[string]corev1.ContainerPort) {
	for path, probe := range map[string]*corev1.Probe{"/readyz": c.ReadinessProbe, "/healthz": c.LivenessProbe, "/healthz ": c.StartupProbe} {
		path = strings.TrimSpace(path)
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal == "" || ports[probe.HTTPGet.Port.StrVal].ContainerPort == 0 {
			m.complain(file, "no probe of %s at a port of the container", path)
		}
	}
}

func (m *manifests) stops(file string, pod corev1.PodSpec) {
	needed := longestStop
	if l := pod.Containers[0].Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
		needed += time.Duration(l.PreStop.Sleep.Seconds) * time.Second
	}
	if p := pod.TerminationGracePeriodSeconds; p == nil || time.Duration(*p)*time.Second < needed {
		m.complain(file, "the grace period is shorter than the %v that a stop may take", needed)
	}
}

// found looks at how the nodes find each other: by the records of the headless service, before they are ready.
func (m *manifests) found(file string, set *appsv1.StatefulSet, ports map[string]corev1.ContainerPort) {
	if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		m.complain(file, "the first pod would wait for the others, and they for it: podManagementPolicy %q", set.Spec.PodManagementPolicy)
	}
	i := slices.IndexFunc(m.services, func(s *corev1.Service) bool { return s.Name == set.Spec.ServiceName })
	if i < 0 {
		m.complain(file, "there is no service %s", set.Spec.ServiceName)
		return
	}
	peers := m.services[i]
	if peers.Spec.ClusterIP != corev1.ClusterIPNone || !peers.Spec.PublishNotReadyAddresses {
		m.complain("services.yaml", "%s does not say where pods are that are not ready yet", peers.Name)
	}
	join, expect := "", ""
	for _, arg := range set.Spec.Template.Spec.Containers[0].Args {
		if rest, ok := strings.CutPrefix(arg, "--join="); ok {
			join = rest
		}
		if rest, ok := strings.CutPrefix(arg, "--bootstrap-expect="); ok {
			expect = rest
		}
	}
	if set.Spec.Replicas == nil || expect != fmt.Sprint(*set.Spec.Replicas) {
		m.complain(file, "--bootstrap-expect=%s, and the first replicas are others", expect)
	}
	for _, p := range peers.Spec.Ports {
		name := fmt.Sprintf("dns+srv:_%s._%s.%s.$(NAMESPACE).svc.", p.Name, strings.ToLower(string(p.Protocol)), peers.Name)
		if strings.HasPrefix(join, name) && ports[p.TargetPort.StrVal].Name == "gossip" {
			return
		}
	}
	m.complain(file, "--join=%s does not name the records of the port gossip of %s", join, peers.Name)
}

func (m *manifests) service(s *corev1.Service, pods map[string]string, ports map[string]corev1.ContainerPort) {
	const file = "services.yaml"
	if len(s.Spec.Selector) == 0 || !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pods)) {
		m.complain(file, "%s does not select the pods", s.Name)
	}
	for _, p := range s.Spec.Ports {
		to, ok := ports[p.TargetPort.StrVal]
		if !ok || to.Protocol != p.Protocol {
			m.complain(file, "%s: the container has no port %s for %s", s.Name, p.TargetPort.StrVal, p.Protocol)
		}
	}
}

func (m *manifests) policy(p *networkingv1.NetworkPolicy, pods map[string]string, ports map[string]corev1.ContainerPort) {
	const file = "network.yaml"
	m.selects(file, &p.Spec.PodSelector, pods)
	open := maps.Clone(ports)
	for _, rule := range p.Spec.Ingress {
		for _, port := range rule.Ports {
			to, ok := ports[port.Port.StrVal]
			if !ok || port.Protocol == nil || to.Protocol != *port.Protocol {
				m.complain(file, "the container has no port %s for %v", port.Port, port.Protocol)
			}
			delete(open, port.Port.StrVal)
			if port.Port.StrVal == "operator" && len(rule.From) == 0 {
				m.complain(file, "everybody may see the operator's pages")
			}
		}
		for _, from := range rule.From {
			if from.PodSelector != nil && from.NamespaceSelector == nil {
				m.selects(file, from.PodSelector, pods)
			}
		}
	}
	for name := range open {
		m.complain(file, "nobody reaches the port %s", name)
	}
}

// arguments hands the container's settings to the program, with variables filled in as Kubernetes does.
func (m *manifests) arguments(ctx context.Context, file string, c corev1.Container) {
	environment := make(map[string]string)
	var fill []string
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			value = map[string]string{"metadata.namespace": m.kustom[0].Namespace, "status.podIP": "10.0.0.1"}[e.ValueFrom.FieldRef.FieldPath]
		}
		environment[e.Name] = value
		fill = append(fill, "$("+e.Name+")", value)
	}
	var args []string
	for _, arg := range c.Args {
		arg = strings.NewReplacer(fill...).Replace(arg)
		if strings.Contains(arg, "$(") {
			m.complain(file, "%s: there is no such variable", arg)
		}
		args = append(args, arg)
		m.listens(file, c, arg)
	}
	m.settings(ctx, file, args, environment)
}

// listens complains of an address whose port is not the container's of that name.
func (m *manifests) listens(file string, c corev1.Container, arg string) {
	flag, address, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
	for _, p := range c.Ports {
		if (p.Name == flag || strings.TrimSuffix(p.Name, "-udp") == flag) && !strings.HasSuffix(address, fmt.Sprint(":", p.ContainerPort)) {
			m.complain(file, "%s, and the container's port %s is %d", arg, p.Name, p.ContainerPort)
		}
	}
}
