//! What is known of well-known images beyond their sizes: whom they run as, what they say at their start, which process
//! shows up, which tags are one image. A server that is a model of a registry's images can't know more of any other.

use crate::model::image::Reference;

/// What is known of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// As in the image's configuration: `1000`, `www-data`, `1000:100`. Empty: root. None: nothing is known.
    pub user: Option<&'static str>,
    /// Groups that the image's `/etc/group` gives to its user.
    pub groups: &'static [i64],
    /// The process that `ps` shows, if the image is started with its own command.
    pub process: Option<&'static str>,
    /// What it writes to standard error when it starts.
    pub says: Option<&'static str>,
    /// Where it leaves its process' number.
    pub pid_file: Option<&'static str>,
    /// The repository and tag that it is the same as.
    pub same_as: Option<&'static str>,
    /// It tells its effective uid and ends.
    pub tells_uid: bool,
    /// The port on which it answers HTTP; 0: none.
    pub http_port: u16,
}

/// Users that nearly every image has, with their primary groups.
const USERS: [(&str, i64); 6] =
    [("root", 0), ("daemon", 1), ("www-data", 33), ("nginx", 101), ("nonroot", 65532), ("nobody", 65534)];

/// What is known of the image.
pub(super) fn known(reference: &Reference) -> Known {
    let name = reference.repository.rsplit('/').next().unwrap_or("");
    let of_kubernetes = matches!(&*reference.host, "registry.k8s.io" | "k8s.gcr.io" | "gcr.io");
    let root = of_kubernetes.then_some("");
    match name {
        "nginx" => Known {
            user: Some(""),
            process: Some("nginx: master process nginx -g daemon off;"),
            pid_file: Some("/var/run/nginx.pid"),
            http_port: 80,
            ..Known::default()
        },
        name if name.starts_with("hostnet-nginx") => {
            Known { user: Some(""), process: Some("nginx: master process nginx"), http_port: 12003, ..Known::default() }
        }
        "httpd" => Known {
            user: Some(""),
            process: Some("httpd -DFOREGROUND"),
            says: Some("AH00094: Command line: 'httpd -D FOREGROUND'"),
            http_port: 80,
            ..Known::default()
        },
        "agnhost" => Known { user: Some(""), http_port: 8080, ..Known::default() },
        "pause" => Known { user: Some("65535:65535"), process: Some("/pause"), ..Known::default() },
        "nonewprivs" => Known { user: root, tells_uid: true, ..Known::default() },
        "test-image-user-uid" => Known { user: Some("1002"), ..Known::default() },
        "test-image-user-username" | "test-image-user-username-group" => {
            Known { user: Some("www-data"), ..Known::default() }
        }
        "test-image-user-uid-group" => Known { user: Some("1003:users"), ..Known::default() },
        "test-image-predefined-group" => Known { user: Some("default-user"), groups: &[50000], ..Known::default() },
        "test-image-tags" => Known { user: root, same_as: Some("test-image-tags:1"), ..Known::default() },
        _ => Known { user: root, ..Known::default() },
    }
}

/// The uid of a user's name.
pub(super) fn uid_of(name: &str) -> Option<i64> {
    match name {
        "default-user" => Some(1000),
        _ => USERS.iter().find(|(user, _)| *user == name).map(|(_, uid)| *uid),
    }
}

/// The name of a uid, if it has one.
pub(super) fn name_of(uid: i64) -> Option<&'static str> {
    USERS.iter().find(|(_, number)| *number == uid).map(|(name, _)| *name)
}

/// The primary group of a user, as `/etc/passwd` has it; root's for one who is not in it.
pub(super) fn group_of(uid: i64, known: &Known) -> i64 {
    let is_in_passwd = name_of(uid).is_some() || (known.user == Some("default-user") && uid == 1000);
    if is_in_passwd { uid } else { 0 }
}

impl Known {
    /// The user's number and name; one of both.
    pub fn user(&self) -> Option<(Option<i64>, &'static str)> {
        let user = self.user?.split(':').next().unwrap_or("");
        Some(match user.parse::<i64>() {
            Ok(uid) => (Some(uid), ""),
            Err(_) if user.is_empty() => (Some(0), ""),
            Err(_) => (None, user),
        })
    }
}

/// `/etc/passwd` of an image.
pub(super) fn passwd(known: &Known) -> String {
    let line = |name: &str, uid: i64| {
        let (home, shell) = if uid == 0 { ("/root", "/bin/sh") } else { ("/", "/bin/false") };
        format!("{name}:x:{uid}:{uid}:{name}:{home}:{shell}\n")
    };
    let own = if known.user == Some("default-user") { line("default-user", 1000) } else { String::new() };
    USERS.iter().map(|(name, uid)| line(name, *uid)).collect::<String>() + &own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names_and_a_group_is_cut_off() {
        let user = |image: &str| known(&Reference::parse(image).expect("a reference")).user();
        assert_eq!(user("gcr.io/k8s-staging-cri-tools/test-image-user-uid-group"), Some((Some(1003), "")));
        assert_eq!(user("gcr.io/k8s-staging-cri-tools/test-image-user-username"), Some((None, "www-data")));
        assert_eq!(user("registry.k8s.io/e2e-test-images/busybox:1.29-2"), Some((Some(0), "")));
        assert_eq!(user("shop/checkout"), None, "the registry's model decides");
    }
}
