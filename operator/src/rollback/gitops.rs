//! Who applies a target from Git, by the marks that the tools leave on it.
//!
//! - Argo CD: the annotation `argocd.argoproj.io/tracking-id` (`<application>:<group>/<kind>:<namespace>/<name>`), the label
//!   `argocd.argoproj.io/instance`, or, as it tracks by default up to version 2, the label `app.kubernetes.io/instance`. Helm
//!   writes that one too, so it counts only where `managedFields` shows that Argo CD applied the object.
//! - Flux: the labels `kustomize.toolkit.fluxcd.io/name` and `helm.toolkit.fluxcd.io/name`, each with a `…/namespace`.
//!
//! Whether Argo CD heals itself is written in the Application, which the operator does not read: it says what may happen.

use kube::ResourceExt;
use kube::core::DynamicObject;
use shoalwatch_core::release::{GitOps, GitOpsTool};

const ARGO_TRACKING: &str = "argocd.argoproj.io/tracking-id";
const ARGO_INSTANCE: &str = "argocd.argoproj.io/instance";
const INSTANCE: &str = "app.kubernetes.io/instance";
/// Field managers of Argo CD: of server-side apply, and of the controller's own updates.
const ARGO_MANAGERS: [&str; 2] = ["argocd-controller", "argocd-application-controller"];
const FLUX_KUSTOMIZATION: &str = "kustomize.toolkit.fluxcd.io";
const FLUX_HELM: &str = "helm.toolkit.fluxcd.io";

/// The tool that applies an object, if it bears its marks.
#[must_use]
pub fn owner(object: &DynamicObject) -> Option<GitOps> {
    argo(object)
        .map(|owner| (GitOpsTool::ArgoCd, owner))
        .or_else(|| flux(object, FLUX_KUSTOMIZATION).map(|owner| (GitOpsTool::FluxKustomization, owner)))
        .or_else(|| flux(object, FLUX_HELM).map(|owner| (GitOpsTool::FluxHelmRelease, owner)))
        .map(|(tool, owner)| GitOps { tool, owner })
}

fn argo(object: &DynamicObject) -> Option<String> {
    let tracked = object.annotations().get(ARGO_TRACKING);
    let tracked = tracked
        .and_then(|id| id.split(':').next())
        .filter(|name| !name.is_empty());
    if let Some(name) = tracked.or(object.labels().get(ARGO_INSTANCE).map(String::as_str)) {
        return Some(name.to_owned());
    }
    let applies = |manager: &str| ARGO_MANAGERS.contains(&manager);
    let mut managers = object
        .managed_fields()
        .iter()
        .filter_map(|entry| entry.manager.as_deref());
    let instance = object.labels().get(INSTANCE)?;
    managers.any(applies).then(|| instance.clone())
}

fn flux(object: &DynamicObject, prefix: &str) -> Option<String> {
    let label = |name: &str| object.labels().get(&format!("{prefix}/{name}"));
    let name = label("name")?;
    Some(label("namespace").map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn marked(metadata: &Value) -> Option<String> {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata});
        owner(&serde_json::from_value(object).unwrap()).map(|owner| owner.sentence())
    }

    #[test]
    fn every_tool_is_known_by_its_marks() {
        let cases = [
            (
                json!({"annotations": {ARGO_TRACKING: "shop:apps/Deployment:shop/checkout"}}),
                "Argo CD (Application shop)",
            ),
            (json!({"labels": {ARGO_INSTANCE: "shop"}}), "Argo CD (Application shop)"),
            (
                json!({"labels": {INSTANCE: "shop"}, "managedFields": [{"manager": "argocd-controller"}]}),
                "Argo CD (Application shop)",
            ),
            (
                json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}}),
                "Flux (Kustomization flux-system/apps)",
            ),
            (
                json!({"labels": {"helm.toolkit.fluxcd.io/name": "checkout"}}),
                "Flux (HelmRelease checkout)",
            ),
        ];
        for (metadata, sentence) in cases {
            assert_eq!(marked(&metadata).as_deref(), Some(sentence), "{metadata}");
        }
    }

    #[test]
    fn a_label_that_helm_writes_too_is_no_proof() {
        let helm = json!({"labels": {INSTANCE: "shop"}, "managedFields": [{"manager": "helm"}]});
        assert_eq!(marked(&helm), None);
        assert_eq!(marked(&json!({})), None);
        assert_eq!(marked(&json!({"annotations": {ARGO_TRACKING: ""}})), None);
    }
}
