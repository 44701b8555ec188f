//! Where the operator may go when an SLO says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Most entries of a list.
const MOST: usize = 256;
/// Characters of an entry that are repeated to a person.
const SHOWN: usize = 64;

/// Addresses that are never gone to unless a block among them is listed: the operator's own host, everybody at once, and what lends
/// rights to a node that asks. Sources: IANA's registries of special-purpose addresses, and the clouds' manuals.
const RESERVED: [IpNet; 13] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    // With the metadata of most clouds, 169.254.169.254.
    v4([169, 254, 0, 0], 16),
    v4([224, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
    // Metadata: Alibaba Cloud, Azure.
    v4([100, 100, 100, 200], 32),
    v4([168, 63, 129, 16], 32),
    // The unspecified one, loopback, and IPv4 addresses as nobody writes them any more.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    // Metadata: AWS, Google Cloud.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
];
/// IPv4 addresses behind a translator. Source: RFC 6052, section 2.1.
const TRANSLATED: IpNet = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// Where the operator may go when an SLO says so. The empty list, which is the default: anywhere but to its own host and its cloud's
/// metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// In small letters.
    Name(String),
    /// What the names end with, in small letters, from the dot on.
    Below(String),
    Block(IpNet),
}

/// Why an address is not gone to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is reserved.
    OwnHost,
    /// Others are listed.
    NotAllowed,
}

/// A text that is no list of destinations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDestination {
    /// There are too many.
    #[error("there are {0} destinations: write at most {MOST}, such as *.example.org for all names below it")]
    Many(usize),
    /// One is none.
    #[error(
        "{0:?} is no destination: write a name as in the SLO, such as prometheus.monitoring, all names below one, *.example.org, or a \
         block of addresses, 10.0.0.0/8 or fd00::/8"
    )]
    Entry(String),
    /// A block whose first address is another one.
    #[error("{0:?} does not begin a block: write {1}")]
    Begin(String, String),
}

impl Destinations {
    /// Whether the operator may go to `address`, to which `host` leads.
    pub(super) fn judge(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let address = reached(address);
        let blocks = self.0.iter().filter_map(Entry::block);
        let mut blocks = blocks.filter(|block| block.contains(&address));
        if let Some(reserved) = RESERVED.iter().find(|block| block.contains(&address)) {
            // Who allows everything does not mean the operator's own host.
            let meant = blocks.any(|block| block.prefix_len() >= reserved.prefix_len());
            return if meant { Ok(()) } else { Err(Refused::OwnHost) };
        }
        let listed = self.0.is_empty() || blocks.next().is_some() || self.0.iter().any(|entry| entry.names(host));
        if listed { Ok(()) } else { Err(Refused::NotAllowed) }
    }
}

/// The address that packets to `address` arrive at.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if TRANSLATED.contains(&IpAddr::V6(v6)) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    }
}

impl Entry {
    fn names(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::Below(suffix) => {
                let end = host.len().checked_sub(suffix.len()).filter(|below| *below > 0);
                end.and_then(|begin| host.get(begin..))
                    .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
            Self::Block(_) => false,
        }
    }

    fn block(&self) -> Option<IpNet> {
        match self {
            Self::Block(block) => Some(*block),
            _ => None,
        }
    }

    fn read(text: &str) -> Result<Self, NoDestination> {
        let no = || NoDestination::Entry(text.chars().take(SHOWN).collect());
        if let Some(block) = block(text) {
            let begin = block.trunc();
            return if begin == block {
                Ok(Self::Block(block))
            } else {
                Err(NoDestination::Begin(text.to_owned(), begin.to_string()))
            };
        }
        let name = text.to_ascii_lowercase();
        let (below, name) = match name.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, name.as_str()),
        };
        match (is_name(name), below) {
            (true, true) => Ok(Self::Below(format!(".{name}"))),
            (true, false) => Ok(Self::Name(name.to_owned())),
            (false, _) => Err(no()),
        }
    }
}

/// Labels of letters, digits, `-` and `_`, of which the last is no number: resolvers take that for an address.
fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(good);
    let last = text.rsplit('.').next().unwrap_or_default();
    let number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253 && text.split('.').all(label) && !number
}

impl FromStr for Destinations {
    type Err = NoDestination;

    fn from_str(text: &str) -> Result<Self, NoDestination> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let entries = text.split(',').count();
        if entries > MOST {
            return Err(NoDestination::Many(entries));
        }
        let entries = text.split(',').map(|entry| Entry::read(entry.trim()));
        entries.collect::<Result<_, _>>().map(Self)
    }
}

const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits))
}

const fn v6(at: [u16; 8], bits: u8) -> IpNet {
    let first = Ipv6Addr::new(at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]);
    IpNet::V6(Ipv6Net::new_assert(first, bits))
}

/// `10.0.0.0/8`, or one address.
fn block(text: &str) -> Option<IpNet> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn destinations(list: &str) -> Destinations {
        list.parse().unwrap()
    }

    fn judge(list: &str, host: &str, address: &str) -> Result<(), Refused> {
        destinations(list).judge(host, address.parse().unwrap())
    }

    #[test]
    fn the_operators_own_host_and_the_clouds_metadata_are_refused_whatever_is_listed() {
        for own in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            for list in ["", "a.example", "0.0.0.0/0,::/0,*.example"] {
                assert_eq!(
                    judge(list, "a.example", own),
                    Err(Refused::OwnHost),
                    "{own} by {list:?}"
                );
            }
        }
    }

    #[test]
    fn by_default_every_other_address_is_allowed() {
        for other in ["10.96.0.10", "192.0.2.1", "2001:db8::1", "fd00::1", "64:ff9b::10.0.0.1"] {
            assert_eq!(judge("", "a.example", other), Ok(()), "{other}");
        }
    }

    #[test]
    fn a_list_allows_what_it_names_and_nothing_else() {
        let list = "Prometheus.monitoring, *.hooks.example,10.0.0.0/8,fd00:7::/32,192.0.2.7";
        let allowed = |host, address| judge(list, host, address);
        for (host, address) in [
            ("prometheus.monitoring", "198.51.100.1"),
            ("PROMETHEUS.Monitoring.", "2001:db8::1"),
            ("a.hooks.example", "198.51.100.1"),
            ("a.b.Hooks.example", "198.51.100.1"),
            ("else.example", "10.255.255.255"),
            ("10.0.0.1", "10.0.0.1"),
            ("else.example", "::ffff:10.0.0.1"),
            ("else.example", "fd00:7:ffff::1"),
            ("192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(allowed(host, address), Ok(()), "{host} at {address}");
        }
        for (host, address) in [
            ("prometheus.monitoring.svc", "198.51.100.1"),
            ("xprometheus.monitoring", "198.51.100.1"),
            ("hooks.example", "198.51.100.1"),
            (".hooks.example", "198.51.100.1"),
            ("xhooks.example", "198.51.100.1"),
            ("a.hooks.example.evil.example", "198.51.100.1"),
            ("else.example", "11.0.0.0"),
            ("else.example", "fd00:8::"),
            ("192.0.2.8", "192.0.2.8"),
            ("", "198.51.100.1"),
        ] {
            assert_eq!(allowed(host, address), Err(Refused::NotAllowed), "{host} at {address}");
        }
    }

    #[test]
    fn a_block_of_the_operators_own_host_is_allowed_when_it_is_listed_itself() {
        assert_eq!(judge("127.0.0.1", "localhost", "127.0.0.1"), Ok(()));
        assert_eq!(judge("127.0.0.0/8", "localhost", "::ffff:127.3.2.1"), Ok(()));
        assert_eq!(judge("127.0.0.1", "localhost", "127.0.0.2"), Err(Refused::OwnHost));
        assert_eq!(judge("126.0.0.0/7", "localhost", "127.0.0.1"), Err(Refused::OwnHost));
        assert_eq!(judge("127.0.0.1", "a.example", "192.0.2.1"), Err(Refused::NotAllowed));
    }

    #[test]
    fn what_is_no_list_is_refused_with_what_to_write() {
        for (list, wanted) in [
            ("a.example,", "write a name as in the SLO"),
            (",", "write a name as in the SLO"),
            ("https://a.example", "write a name as in the SLO"),
            ("a.example:9090", "write a name as in the SLO"),
            ("*", "write a name as in the SLO"),
            ("a.*.example", "write a name as in the SLO"),
            ("*.0.0.1", "write a name as in the SLO"),
            ("127.1", "write a name as in the SLO"),
            ("0x7f000001", "write a name as in the SLO"),
            ("10.0.0.0/33", "write a name as in the SLO"),
            ("10.0.0.0/-1", "write a name as in the SLO"),
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("fd00::1/8", "write fd00::/8"),
            (&"a,".repeat(MOST), "write at most 256"),
            (&"a".repeat(64), "write a name as in the SLO"),
        ] {
            let refused = list.parse::<Destinations>().unwrap_err().to_string();
            assert!(refused.contains(wanted) && refused.len() < 300, "{list}: {refused}");
        }
        assert_eq!(destinations(" "), Destinations::default());
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
            any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
            (0..RESERVED.len(), any::<u128>()).prop_map(|(at, bits)| inside(RESERVED[at], bits)),
        ]
    }

    /// An address of a block whose other bits are those of `bits`.
    fn inside(block: IpNet, bits: u128) -> IpAddr {
        let free = u32::from(block.max_prefix_len() - block.prefix_len());
        match block.network() {
            IpAddr::V4(first) => {
                let low =
                    u32::try_from(bits & u128::from(u32::MAX)).unwrap() & !u32::MAX.checked_shl(free).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() | low))
            }
            IpAddr::V6(first) => {
                let low = bits & !u128::MAX.checked_shl(free).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() | low))
            }
        }
    }

    fn any_block() -> impl Strategy<Value = IpNet> {
        (any_address(), any::<u8>()).prop_map(|(first, bits)| {
            let bits = bits % (IpNet::from(first).max_prefix_len() + 1);
            IpNet::new(first, bits).unwrap().trunc()
        })
    }

    /// An address as a line of bits.
    fn bits_of(address: IpAddr) -> String {
        match address {
            IpAddr::V4(v4) => format!("4{:032b}", v4.to_bits()),
            IpAddr::V6(v6) => format!("6{:0128b}", v6.to_bits()),
        }
    }

    proptest! {
        #[test]
        fn a_block_has_the_addresses_that_begin_like_its_first(block in any_block(), other in any_address(), bits: u128) {
            let prefix = &bits_of(block.network())[..=usize::from(block.prefix_len())];
            for address in [other, inside(block, bits)] {
                let begins = bits_of(address).starts_with(prefix);
                prop_assert_eq!(block.contains(&address), begins, "{} in {}", address, block);
            }
            prop_assert!(block.contains(&inside(block, bits)));
        }

        #[test]
        fn a_block_is_read_as_it_is_written(block in any_block()) {
            prop_assert_eq!(destinations(&block.to_string()), Destinations(vec![Entry::Block(block)]));
        }

        #[test]
        fn no_list_of_names_and_wide_blocks_leads_to_a_reserved_address(
            at in 0..RESERVED.len(),
            bits: u128,
            name in "[a-z]{1,9}([.][a-z]{1,9}){0,3}",
            wider in 1_u8..=10,
        ) {
            let reserved = RESERVED[at];
            let address = inside(reserved, bits);
            let wide = IpNet::new(reserved.network(), reserved.prefix_len().saturating_sub(wider)).unwrap().trunc();
            prop_assume!(wide.prefix_len() < reserved.prefix_len());
            let list = destinations(&format!("{name},*.{name},{wide}"));
            prop_assert_eq!(list.judge(&name, address), Err(Refused::OwnHost));
            prop_assert_eq!(Destinations::default().judge(&name, address), Err(Refused::OwnHost));
        }

        #[test]
        fn a_listed_block_and_no_other_is_allowed(block in any_block(), address in any_address(), bits: u128) {
            let list = Destinations(vec![Entry::Block(block)]);
            for address in [address, inside(block, bits)] {
                let allowed = list.judge("a.example", address).is_ok();
                prop_assert!(!allowed || block.contains(&reached(address)), "{} by {}", address, block);
            }
        }

        #[test]
        fn names_below_one_end_with_it(name in "[a-z]{1,9}[.][a-z]{1,9}", below in "[a-z.]{0,9}", upper: bool) {
            let host = format!("{below}.{name}");
            let host = if upper { host.to_ascii_uppercase() } else { host };
            let list = destinations(&format!("*.{name}"));
            let to = |host: &str| list.judge(host, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
            prop_assert_eq!(to(&host).is_ok(), !below.is_empty());
            prop_assert_eq!(to(&name), Err(Refused::NotAllowed));
            prop_assert_eq!(to(&format!("{below}x{name}")), Err(Refused::NotAllowed));
        }

        #[test]
        fn no_text_panics(text in "[a-z0-9.*:/,-]{0,24}|.{0,24}", host in ".{0,9}", address in any_address()) {
            if let Ok(list) = text.parse::<Destinations>() {
                let _judged = list.judge(&host, address);
            }
        }
    }
}
