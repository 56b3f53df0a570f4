//! The node's pod network: addresses from its subnet, as the host-local CNI plug-in gives them, round robin.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// An IPv4 subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The address with the host bits zero.
    pub base: Ipv4Addr,
    /// 0 to 32.
    pub prefix: u8,
}

impl Subnet {
    /// Reads `10.244.3.0/24`.
    pub fn parse(text: &str) -> Option<Subnet> {
        let (base, prefix) = text.split_once('/')?;
        let (base, prefix) = (base.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?);
        if prefix > 32 {
            return None;
        }
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Some(Subnet { base: Ipv4Addr::from(u32::from(base) & mask), prefix })
    }

    fn size(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    fn address(self, offset: u64) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base).wrapping_add(offset as u32))
    }
}

/// The addresses of a node.
#[derive(Clone, Debug, Default)]
pub struct Network {
    subnet: Option<Subnet>,
    /// Offsets into the subnet.
    used: BTreeSet<u64>,
    last: u64,
    /// A fault: CNI ADD does not come back.
    pub hangs: bool,
}

impl Network {
    /// The network of this subnet; without one it is not initialised.
    pub fn new(subnet: Option<Subnet>) -> Network {
        Network { subnet, last: 1, ..Network::default() }
    }

    /// Sets the subnet, as UpdateRuntimeConfig does. Addresses given before stay with their pods.
    pub fn configure(&mut self, subnet: Subnet) {
        if self.subnet != Some(subnet) {
            *self = Network { hangs: self.hangs, ..Network::new(Some(subnet)) };
        }
    }

    /// True once there is a subnet.
    pub fn is_ready(&self) -> bool {
        self.subnet.is_some()
    }

    /// Gives the next free address; `Err` holds the plug-in's words.
    pub fn allocate(&mut self) -> Result<Ipv4Addr, String> {
        let subnet = self.subnet.ok_or("cni config uninitialized")?;
        // The first is the network itself, the second the bridge, the last the broadcast.
        let (first, end) = (2, subnet.size().saturating_sub(1));
        let usable = end.saturating_sub(first);
        if (self.used.len() as u64) >= usable {
            let (from, to) = (subnet.address(1), subnet.address(end.saturating_sub(1)));
            return Err(format!("failed to allocate for range 0: no IP addresses available in range set: {from}-{to}"));
        }
        let mut offset = self.last;
        loop {
            offset = if offset + 1 >= end || offset + 1 < first { first } else { offset + 1 };
            if self.used.insert(offset) {
                self.last = offset;
                return Ok(subnet.address(offset));
            }
        }
    }

    /// Takes an address back.
    pub fn release(&mut self, address: Ipv4Addr) {
        if let Some(subnet) = self.subnet {
            self.used.remove(&u64::from(u32::from(address).wrapping_sub(u32::from(subnet.base))));
        }
    }

    /// Takes all addresses back.
    pub fn release_all(&mut self) {
        self.used.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_the_subnet_and_come_back_when_released() {
        let mut network = Network::new(Subnet::parse("10.244.3.9/29"));
        let given: Vec<String> = (0..5).map(|_| network.allocate().unwrap().to_string()).collect();
        assert_eq!(given, ["10.244.3.10", "10.244.3.11", "10.244.3.12", "10.244.3.13", "10.244.3.14"]);
        assert!(
            network.allocate().unwrap_err().ends_with("no IP addresses available in range set: 10.244.3.9-10.244.3.14")
        );
        network.release("10.244.3.12".parse().unwrap());
        assert_eq!(network.allocate().unwrap().to_string(), "10.244.3.12");
        for text in ["10.0.0.0", "10.0.0.0/33", "x/24", "::/64"] {
            assert_eq!(Subnet::parse(text), None, "{text}");
        }
        assert!(Network::new(Subnet::parse("10.0.0.0/32")).allocate().is_err());
        assert!(Network::new(Subnet::parse("0.0.0.0/0")).allocate().is_ok());
    }
}
