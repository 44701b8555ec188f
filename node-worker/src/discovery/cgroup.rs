//! From a process's cgroup paths to its container and pod.
//!
//! Runtimes and cgroup drivers spell the same two facts in many ways; the container's id (64 hexadecimal digits) and the
//! pod's uid are recognised wherever they stand, so that nested, re-rooted and namespaced hierarchies work too.

/// Hexadecimal digits of a container's id.
const CONTAINER_ID: usize = 64;

/// Where a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContainerRef {
    /// The runtime's id for the container.
    pub(crate) container_id: String,
    /// With dashes; absent for containers outside Kubernetes.
    pub(crate) pod_uid: Option<String>,
}

/// Reads the text of `/proc/PID/cgroup`: one line for each version 1 hierarchy, one (`0::…`) for version 2.
pub(crate) fn container_of(text: &str) -> Option<ContainerRef> {
    text.lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .find_map(container_in_path)
}

/// The innermost container of the path, and the innermost pod around it.
fn container_in_path(path: &str) -> Option<ContainerRef> {
    let mut segments = path.rsplit('/');
    let (container_id, inline_pod) = segments.find_map(container_id)?;
    let pod_uid = inline_pod.or_else(|| segments.find_map(pod_uid));
    Some(ContainerRef { container_id, pod_uid })
}

/// Also the pod, where the segment is containerd's `kubepods-pod<uid>.slice:cri-containerd:<id>`.
fn container_id(segment: &str) -> Option<(String, Option<String>)> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    // conmon watches over a CRI-O container and is none itself.
    if name.starts_with("crio-conmon-") {
        return None;
    }
    let id = name.rsplit(['-', ':']).next().filter(|id| is_container_id(id))?;
    let pod = name.split_once(':').and_then(|(slice, _)| pod_uid(slice));
    Some((id.to_owned(), pod))
}

fn is_container_id(text: &str) -> bool {
    text.len() == CONTAINER_ID && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `pod<uid>` (cgroupfs driver) or `kubepods-burstable-pod<uid with underscores>.slice` (systemd driver).
fn pod_uid(segment: &str) -> Option<String> {
    let name = segment.strip_suffix(".slice").unwrap_or(segment);
    let (before, uid) = name.rsplit_once("pod")?;
    if !before.is_empty() && !before.ends_with('-') {
        return None;
    }
    let uid = uid.replace('_', "-");
    // The pods of a node's own manifests have a hash without dashes.
    let is_uid = matches!(uid.len(), 36 | 32) && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_uid.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1d5bd8a1f3c25f0f4e8f2a0f0a1b2c3d4e5f60718293a4b5c6d7e8f9012345";
    const UID: &str = "0b2f4b0e-6c5d-4a7b-9f3e-2a1b3c4d5e6f";
    const UNDERSCORED: &str = "0b2f4b0e_6c5d_4a7b_9f3e_2a1b3c4d5e6f";

    #[track_caller]
    fn expect(text: &str, pod_uid: Option<&str>) {
        let expected = ContainerRef {
            container_id: ID.to_owned(),
            pod_uid: pod_uid.map(str::to_owned),
        };
        assert_eq!(container_of(text), Some(expected), "{text}");
    }

    #[test]
    fn version_2_with_the_systemd_driver_is_understood_for_every_runtime() {
        for scope in ["cri-containerd", "crio", "docker"] {
            for (qos, pod) in [
                ("kubepods-burstable.slice/", "kubepods-burstable-pod"),
                ("kubepods-besteffort.slice/", "kubepods-besteffort-pod"),
                ("", "kubepods-pod"),
            ] {
                expect(
                    &format!("0::/kubepods.slice/{qos}{pod}{UNDERSCORED}.slice/{scope}-{ID}.scope\n"),
                    Some(UID),
                );
            }
        }
    }

    #[test]
    fn version_1_with_the_cgroupfs_driver_is_understood() {
        let text = format!(
            "11:memory:/kubepods/burstable/pod{UID}/{ID}\n10:cpu,cpuacct:/kubepods/burstable/pod{UID}/{ID}\n0::/\n"
        );
        expect(&text, Some(UID));
        expect(&format!("4:memory:/kubepods/pod{UID}/crio-{ID}\n"), Some(UID));
    }

    #[test]
    fn a_hierarchy_without_the_container_does_not_hide_it() {
        let text = format!("9:name=systemd:/\n4:memory:/shoalwatch/kubepods/besteffort/pod{UID}/{ID}\n0::/\n");
        expect(&text, Some(UID));
    }

    #[test]
    fn nested_and_re_rooted_paths_give_the_innermost_container() {
        let outer = "f".repeat(64);
        let kind = format!(
            "0::/docker/{outer}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope"
        );
        expect(&kind, Some(UID));
        expect(&format!("0::/../../pod{UID}/{ID}/init.scope"), Some(UID));
        expect(
            &format!("1:name=systemd:/kubepods/pod{UID}/{ID}/system.slice/nginx.service"),
            Some(UID),
        );
    }

    #[test]
    fn containerds_colon_form_names_the_pod_in_the_same_segment() {
        let path = format!(
            "0::/system.slice/containerd.service/kubepods-burstable-pod{UNDERSCORED}.slice:cri-containerd:{ID}"
        );
        expect(&path, Some(UID));
    }

    #[test]
    fn a_static_pods_hash_is_its_uid() {
        let hash = "9a2c5f6e1b3d4c7f8e0a1b2c3d4e5f60";
        expect(&format!("0::/kubepods/burstable/pod{hash}/{ID}"), Some(hash));
    }

    #[test]
    fn a_container_outside_kubernetes_has_no_pod() {
        expect(&format!("0::/system.slice/docker-{ID}.scope"), None);
        expect(&format!("5:memory:/docker/{ID}"), None);
    }

    #[test]
    fn host_processes_and_helpers_are_in_no_container() {
        let conmon = format!("0::/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-conmon-{ID}.scope");
        let short = format!("0::/kubepods/pod{UID}/{}", &ID[1..]);
        for text in [
            "",
            "0::/",
            "0::/user.slice/user-0.slice/session-1.scope",
            "nonsense",
            &conmon,
            &short,
        ] {
            assert_eq!(container_of(text), None, "{text}");
        }
    }
}
