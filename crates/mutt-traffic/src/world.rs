//! Four sites with their devices, and three hosts of the development lab.

/// Whose device it is: decides how its messages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// Cisco IOS: RFC 3164 as relayed, `%FACILITY-SEVERITY-MNEMONIC`.
    CiscoIos,
    /// Cisco ASA firewalls.
    CiscoAsa,
    /// Juniper Junos: RFC 5424 with structured data.
    Juniper,
    /// Arista EOS.
    Arista,
    /// Fortinet: key=value.
    Fortinet,
    /// Linux servers.
    Linux,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its host name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Whose it is.
    pub vendor: Vendor,
    /// The site it stands at.
    pub site: &'static str,
}

/// All devices.
#[derive(Clone, Debug)]
pub struct World {
    /// The busy ones first: traffic is spread by Zipf's law.
    pub devices: Vec<Device>,
}

/// The sites.
pub const SITES: [&str; 4] = ["ams", "fra", "lon", "nyc"];

/// The lab: the development hosts of the sample data.
pub const LAB: [&str; 3] = ["dev-router1", "test-switch1", "qa-firewall1"];

impl Default for World {
    fn default() -> Self {
        let mut devices = Vec::new();
        let roles: [(&str, usize, Vendor); 7] = [
            ("core-sw", 2, Vendor::CiscoIos),
            ("dist-sw", 2, Vendor::Arista),
            ("acc-sw", 8, Vendor::CiscoIos),
            ("edge-rtr", 1, Vendor::Juniper),
            ("fw", 1, Vendor::CiscoAsa),
            ("wan-fw", 1, Vendor::Fortinet),
            ("srv", 2, Vendor::Linux),
        ];
        for (role, count, vendor) in roles {
            for number in 1..=count {
                for (index, site) in SITES.iter().enumerate() {
                    let host = devices.len() + 1;
                    devices.push(Device {
                        name: format!("{site}-{role}{number}"),
                        address: format!("10.{}.0.{host}", index + 1),
                        vendor,
                        site,
                    });
                }
            }
        }
        for (index, name) in LAB.iter().enumerate() {
            let vendor = if name.contains("firewall") {
                Vendor::CiscoAsa
            } else {
                Vendor::CiscoIos
            };
            devices.push(Device {
                name: (*name).to_owned(),
                address: format!("10.9.0.{}", index + 1),
                vendor,
                site: "lab",
            });
        }
        Self { devices }
    }
}
