//! A node for tests: an observer, a kernel that remembers, a folder for `/proc`, sleeping processes for pidfds.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command},
    sync::Arc,
};

use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
use prost::Message;
use serde_json::json;
use shoalwatch_pipeline::{folding::RowTable, loss::Loss};
use tempfile::TempDir;

use crate::{
    counters::{Count, Counters},
    discovery::{Exits, ProcFs},
    enrichment::{PodFacts, PodIndex},
    in_force::InForce,
    loader::{ProcessEvent, ProcessKind, Stats},
    requests::{
        FakeKernel, Now, Numbers, SeriesAttributes, SeriesTarget, held::Held, observer::Observer, processes::Processes,
        raw::RawConnections, services::Services, taught::Taught, traffic::Traffic,
    },
};

/// An observer on a node of its own: a folder for `/proc`, sleeping processes for pidfds.
pub(super) struct Node {
    pub(super) observer: Observer,
    pub(super) kernel: FakeKernel,
    pub(super) proc_fs: TempDir,
    pub(super) sleepers: Vec<Child>,
    pub(super) pods: PodIndex,
    pub(super) now: Now,
}

impl Drop for Node {
    fn drop(&mut self) {
        for sleeper in &mut self.sleepers {
            sleeper.kill().ok();
            sleeper.wait().ok();
        }
    }
}

/// Connections that the kernel does not pair, followed at once.
pub(super) const MAX_RAW: usize = 4;
const UID: &str = "0b2f4b0e-6c5d-4a7b-9f3e-2a1b3c4d5e6f";

fn container_id(digit: char) -> String {
    digit.to_string().repeat(64)
}

impl Node {
    pub(super) fn new(config: &str) -> Self {
        let (proc_fs, kernel) = (tempfile::tempdir().unwrap(), FakeKernel::default());
        let counters = Arc::new(Counters::default());
        let observer = Observer {
            kernel: Box::new(kernel.clone()),
            exits: Exits::new().unwrap(),
            proc_fs: ProcFs::at(proc_fs.path()),
            node_name: "n1".into(),
            in_force: Arc::default(),
            pods: None,
            kubernetes: true,
            processes: Processes::default(),
            services: Services::new(16),
            held: Held::default(),
            raw: RawConnections::new(MAX_RAW, Arc::clone(&counters)),
            traffic: Traffic::new(Arc::clone(&counters), 16, true),
            counters,
            selected_lately: false,
            unseen: 0,
            taught: Taught::default(),
            rows: RowTable::default(),
            duties_changed: false,
            refused_until_ns: 0,
            counted_unix_ns: 0,
            kernel_counts: Stats::default(),
        };
        let now = Now {
            monotonic_ns: 10_000_000_000,
            unix_ns: 1_700_000_000_000_000_000,
        };
        let mut node = Self {
            observer,
            kernel,
            proc_fs,
            sleepers: Vec::new(),
            pods: PodIndex::default(),
            now,
        };
        node.configure(config);
        node
    }

    /// Whether it is in force.
    pub(super) fn configure(&mut self, config: &str) -> bool {
        let stored = serde_saphyr::from_str(&format!("config: {config}")).unwrap();
        self.observer
            .configure(Arc::new(InForce::compile(stored).unwrap()), self.now)
    }

    /// A Deployment's pod; `ids` as the kubelet has told them so far.
    pub(super) fn pod(&mut self, containers: &[&str], ids: &[(&str, char)]) {
        let specs: Vec<_> = containers.iter().map(|name| json!({"name": name})).collect();
        let statuses: Vec<_> = ids
            .iter()
            .map(|(name, digit)| {
                let id = format!("containerd://{}", container_id(*digit));
                json!({"name": name, "containerID": id, "image": "", "imageID": "", "ready": true, "restartCount": 0})
            })
            .collect();
        let pod = json!({
            "metadata": {
                "name": "checkout-7d41b-x2x", "namespace": "shop", "uid": UID,
                "labels": {"app": "checkout", "pod-template-hash": "7d41b"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "checkout-7d41b", "uid": "r", "controller": true}],
            },
            "spec": {"containers": specs},
            "status": {"containerStatuses": statuses},
        });
        self.pods
            .insert(PodFacts::of(&serde_json::from_value(pod).unwrap()).unwrap());
        self.observer.set_pods(self.pods.clone(), self.now);
    }

    /// A process that is there, and that the observer knows nothing of.
    pub(super) fn process(&mut self, container: char) -> u32 {
        let sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        let tgid = sleeper.id();
        self.sleepers.push(sleeper);
        let folder = self.proc_fs.path().join(tgid.to_string());
        fs::create_dir(&folder).unwrap();
        let path = Path::new("kubepods")
            .join(format!("pod{UID}"))
            .join(container_id(container));
        fs::write(folder.join("cgroup"), format!("0::/{}\n", path.display())).unwrap();
        tgid
    }

    /// A new process in a container of the pod.
    pub(super) fn exec(&mut self, container: char) -> u32 {
        let tgid = self.process(container);
        self.news(ProcessKind::Exec, tgid, 0);
        tgid
    }

    pub(super) fn news(&mut self, kind: ProcessKind, tgid: u32, parent: u32) {
        self.kernel.lock().news.push(ProcessEvent {
            kind,
            time_ns: 0,
            tgid,
            parent,
        });
        self.observer.take_news(self.now);
    }

    pub(super) fn selected(&self, tgid: u32) -> Option<u32> {
        self.kernel.lock().selected.get(&tgid).copied()
    }

    /// What the kernel was told of a process.
    pub(super) fn flags(&self, tgid: u32) -> u32 {
        self.kernel.lock().flags.get(&tgid).copied().unwrap_or(0)
    }

    /// A request that the kernel saw, as the process is selected now.
    pub(super) fn request(&mut self, tgid: u32, status: u16, head: &str) {
        let service = self.selected(tgid).unwrap_or(u32::MAX);
        self.kernel
            .lock()
            .requests
            .push((tgid, service, status, head.as_bytes().to_vec()));
        self.observer.take_requests(self.now);
    }

    pub(super) fn get(&mut self, tgid: u32, status: u16) {
        self.request(tgid, status, "GET /cart/17 HTTP/1.1\r\n\r\n");
    }

    /// A request that the process wrote to a peer.
    pub(super) fn call(&mut self, tgid: u32, status: u16, head: &str, peer: Option<&str>) {
        let service = self.selected(tgid).unwrap_or(u32::MAX);
        let peer = peer.map(|peer| peer.parse().unwrap());
        let call = (tgid, service, status, head.as_bytes().to_vec(), peer);
        self.kernel.lock().calls.push(call);
        self.observer.take_requests(self.now);
    }

    pub(super) fn wait(&mut self, nanoseconds: u64) {
        self.now.monotonic_ns += nanoseconds;
        self.now.unix_ns += nanoseconds;
        self.observer.settle_pending(self.now);
    }

    pub(super) fn numbers(&mut self) -> Numbers {
        self.observer.numbers(self.now)
    }

    /// (container, route, status or 0 for aborted) → requests.
    pub(super) fn counts(&mut self) -> BTreeMap<(String, String, u16), u64> {
        let mut counts = BTreeMap::new();
        for service in self.numbers().services {
            let container = service
                .resource
                .get("k8s.container.name")
                .unwrap_or_default()
                .to_owned();
            for series in service.series.server {
                let Some(SeriesAttributes {
                    target: SeriesTarget::Route(route),
                    status,
                    ..
                }) = series.attributes
                else {
                    continue;
                };
                let status = status.code().unwrap_or(0);
                let key = (container.clone(), route.unwrap_or_default().into_string(), status);
                *counts.entry(key).or_default() += series.histogram.count();
            }
        }
        counts
    }

    /// (peer or `_OTHER`, status or 0 for aborted) → requests that were sent.
    pub(super) fn calls(&mut self) -> BTreeMap<(String, u16), u64> {
        let mut calls = BTreeMap::new();
        for series in self
            .numbers()
            .services
            .into_iter()
            .flat_map(|service| service.series.client)
        {
            let attributes = series.attributes.unwrap();
            let SeriesTarget::Peer(peer) = attributes.target else {
                unreachable!("{attributes:?}")
            };
            let peer = peer.map_or("_OTHER".to_owned(), |peer| peer.to_string());
            *calls.entry((peer, attributes.status.code().unwrap_or(0))).or_default() += series.histogram.count();
        }
        calls
    }

    /// (good, bad, incomplete, pods) of the only row.
    pub(super) fn sli(&mut self) -> (u64, u64, u64, u32) {
        let slis = self.observer.snapshot(self.now).slis;
        assert_eq!(slis.len(), 1, "{slis:?}");
        assert_eq!(slis[0].revision.as_ref(), "7d41b");
        (slis[0].good, slis[0].bad, slis[0].incomplete, slis[0].pods)
    }

    /// The spans that wait, which they do no more.
    pub(super) fn take_spans(&mut self) -> Vec<Span> {
        let mut message = Vec::new();
        self.observer.traffic.spans.as_mut().unwrap().take_any(&mut message);
        let message = ExportTraceServiceRequest::decode(message.as_slice()).unwrap();
        let scopes = message.resource_spans.into_iter().flat_map(|of| of.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    pub(super) fn count(&self, count: Count) -> u64 {
        self.observer.counters.get(count)
    }

    pub(super) fn spans(&self) -> usize {
        self.observer.traffic.spans.as_ref().unwrap().len()
    }

    pub(super) fn lost(&self, loss: Loss) -> u64 {
        self.observer.counters.losses.get(loss)
    }
}
