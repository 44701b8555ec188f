//! Services outside Kubernetes: processes recognised by their program or their arguments.

use std::sync::Arc;

use shoalwatch_node_api::config::HostService;

use super::{
    identity::{Identity, IdentityKey},
    resource::Resource,
};
use crate::discovery::Command;

/// The first service that the process belongs to.
pub(crate) fn service_of<'a>(services: &'a [HostService], command: &Command) -> Option<&'a HostService> {
    services.iter().find(|service| matches(service, command))
}

fn matches(service: &HostService, command: &Command) -> bool {
    let by_executable = service.executable.as_deref().map(|name| name == command.executable);
    let by_argument = service
        .argument_contains
        .as_deref()
        .map(|part| command.arguments.iter().any(|argument| argument.contains(part)));
    let conditions = [by_executable, by_argument];
    conditions.iter().flatten().all(|holds| *holds) && conditions.iter().any(Option::is_some)
}

/// Who the service's processes are.
pub(crate) fn identity(service: &HostService, node_name: &str) -> Identity {
    let mut resource = Resource::default();
    resource.set("service.name", service.name.as_str());
    resource.set("service.namespace", service.namespace.as_str());
    resource.set("service.instance.id", format!("{}.{node_name}", service.name));
    resource.set("host.name", node_name);
    Identity {
        key: IdentityKey::Host {
            namespace: service.namespace.clone(),
            name: service.name.clone(),
        },
        namespace: service.namespace.clone(),
        labels: service.labels.clone(),
        workload: Some(service.name.clone()),
        container: None,
        revision: String::new(),
        resource: Arc::new(resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(executable: Option<&str>, argument: Option<&str>) -> HostService {
        HostService {
            name: "shop".into(),
            executable: executable.map(str::to_owned),
            argument_contains: argument.map(str::to_owned),
            ..HostService::default()
        }
    }

    fn command(executable: &str, arguments: &[&str]) -> Command {
        Command {
            executable: executable.into(),
            arguments: arguments.iter().map(|argument| (*argument).into()).collect(),
        }
    }

    #[test]
    fn every_condition_that_is_set_must_hold() {
        let python = command("python3", &["python3", "-m", "http.server", "8000"]);
        assert!(matches(&service(Some("python3"), None), &python));
        assert!(matches(&service(None, Some("http.ser")), &python));
        assert!(matches(&service(Some("python3"), Some("8000")), &python));
        assert!(!matches(&service(Some("python3"), Some("9000")), &python));
        assert!(!matches(&service(Some("python"), Some("8000")), &python));
        assert!(
            !matches(&service(None, None), &python),
            "a service without conditions selects nothing"
        );
    }

    #[test]
    fn the_first_service_that_matches_wins() {
        let mut services = [service(Some("nginx"), None), service(Some("nginx"), Some("-c"))];
        services[1].name = "second".into();
        let found = service_of(&services, &command("nginx", &["nginx", "-c", "x"])).unwrap();
        assert_eq!(found.name, "shop");
    }
}
