//! The version that a container image's reference names.

/// `tag@digest`, or the one of them that is there; nothing for a bare name.
pub(super) fn version(image: &str) -> Option<String> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    match (tag, digest) {
        (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn tags_and_digests_are_told_from_ports() {
        assert_eq!(version("nginx"), None);
        assert_eq!(version("registry:5000/shop/nginx"), None);
        assert_eq!(version("registry:5000/shop/nginx:1.27").as_deref(), Some("1.27"));
        assert_eq!(version("nginx@sha256:ab").as_deref(), Some("sha256:ab"));
        assert_eq!(version("nginx:1.27@sha256:ab").as_deref(), Some("1.27@sha256:ab"));
    }
}
