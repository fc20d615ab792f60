//! What the traps and variables of MUTT's own table mean to the sentences: chosen by name, once, when
//! the table is read.

/// What a variable says in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Role {
    #[default]
    None,
    /// Who sent the trap; told elsewhere.
    Sender,
    IfIndex,
    IfDescr,
    IfName,
    IfAlias,
    IfAdminStatus,
    IfOperStatus,
    /// Whose request was refused.
    RequestAddress,
    BgpState,
    BgpPreviousState,
    BgpRemoteAddress,
    BgpLastError,
    BgpLastErrorText,
    OspfRouterId,
    OspfNeighborAddress,
    OspfNeighborIndex,
    OspfNeighborRouter,
    OspfNeighborState,
    OspfInterfaceAddress,
    OspfInterfaceIndex,
    OspfInterfaceState,
    HsrpState,
    /// The name or the description of a part, in this order of preference.
    PartName,
    PartDescription,
    /// Varbinds whose instance is the number of a part.
    PartInstance,
    PartState,
    PartValue,
    /// Numbers that say where a part is, when its name does not.
    PartPlace,
    Temperature,
    ConfigCommandSource,
    ConfigFrom,
    ConfigTo,
    ConfigUser,
    ConfigUserAddress,
    ConfigTerminal,
    UpsSeconds,
    UpsMinutes,
    UpsLowTime,
    UpsAlarm,
    SyslogFacility,
    SyslogSeverity,
    SyslogName,
    SyslogText,
    SyslogProgram,
    SyslogProcessId,
    TunnelName,
    RemoteGateway,
    LocalGateway,
    /// A sentence that the device wrote itself.
    OwnWords,
}

impl Role {
    /// The role of a variable of MUTT's own table.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "snmpTrapAddress" | "snmpTrapEnterprise" => Self::Sender,
            "ifIndex" => Self::IfIndex,
            "ifDescr" => Self::IfDescr,
            "ifName" => Self::IfName,
            "ifAlias" => Self::IfAlias,
            "ifAdminStatus" => Self::IfAdminStatus,
            "ifOperStatus" => Self::IfOperStatus,
            "authAddr" => Self::RequestAddress,
            "bgpPeerState" | "cbgpPeer2State" => Self::BgpState,
            "cbgpPeerPrevState" | "cbgpPeer2PrevState" => Self::BgpPreviousState,
            "bgpPeerRemoteAddr" => Self::BgpRemoteAddress,
            "bgpPeerLastError" | "cbgpPeer2LastError" => Self::BgpLastError,
            "cbgpPeerLastErrorTxt" | "cbgpPeer2LastErrorTxt" => Self::BgpLastErrorText,
            "ospfRouterId" => Self::OspfRouterId,
            "ospfNbrIpAddr" => Self::OspfNeighborAddress,
            "ospfNbrAddressLessIndex" => Self::OspfNeighborIndex,
            "ospfNbrRtrId" => Self::OspfNeighborRouter,
            "ospfNbrState" => Self::OspfNeighborState,
            "ospfIfIpAddress" => Self::OspfInterfaceAddress,
            "ospfAddressLessIf" => Self::OspfInterfaceIndex,
            "ospfIfState" => Self::OspfInterfaceState,
            "cHsrpGrpStandbyState" => Self::HsrpState,
            "entPhysicalName" | "jnxFruName" => Self::PartName,
            "entPhysicalDescr"
            | "jnxContentsDescr"
            | "ciscoEnvMonVoltageStatusDescr"
            | "ciscoEnvMonTemperatureStatusDescr"
            | "ciscoEnvMonFanStatusDescr"
            | "ciscoEnvMonSupplyStatusDescr" => Self::PartDescription,
            "entPhysicalContainedIn" => Self::PartInstance,
            "cefcModuleOperStatus"
            | "cefcFRUPowerOperStatus"
            | "cefcFanTrayOperStatus"
            | "jnxOperatingState"
            | "ciscoEnvMonVoltageState"
            | "ciscoEnvMonTemperatureState"
            | "ciscoEnvMonFanState"
            | "ciscoEnvMonSupplyState" => Self::PartState,
            "ciscoEnvMonVoltageStatusValue" => Self::PartValue,
            "ciscoEnvMonTemperatureStatusValue" | "jnxOperatingTemp" => Self::Temperature,
            "jnxFruContentsIndex" | "jnxFruL1Index" | "jnxFruL2Index" | "jnxFruL3Index" => {
                Self::PartPlace
            }
            "ccmHistoryEventCommandSource" | "jnxCmCfgChgEventSource" => Self::ConfigCommandSource,
            "ccmHistoryEventConfigSource" => Self::ConfigFrom,
            "ccmHistoryEventConfigDestination" => Self::ConfigTo,
            "ccmHistoryEventTerminalUser" | "jnxCmCfgChgEventUser" => Self::ConfigUser,
            "ccmHistoryEventCommandSourceAddress" => Self::ConfigUserAddress,
            "ccmHistoryEventTerminalType" => Self::ConfigTerminal,
            "upsSecondsOnBattery" => Self::UpsSeconds,
            "upsEstimatedMinutesRemaining" => Self::UpsMinutes,
            "upsConfigLowBattTime" => Self::UpsLowTime,
            "upsAlarmDescr" => Self::UpsAlarm,
            "clogHistFacility" | "jnxSyslogFacility" => Self::SyslogFacility,
            "clogHistSeverity" | "jnxSyslogSeverity" => Self::SyslogSeverity,
            "clogHistMsgName" | "jnxSyslogEventName" => Self::SyslogName,
            "clogHistMsgText" | "jnxSyslogMessage" => Self::SyslogText,
            "jnxSyslogProcessName" => Self::SyslogProgram,
            "jnxSyslogProcessId" => Self::SyslogProcessId,
            "fgVpnTrapPhase1Name" => Self::TunnelName,
            "fgVpnTrapRemoteGateway" => Self::RemoteGateway,
            "fgVpnTrapLocalGateway" => Self::LocalGateway,
            "bigipNotifyObjMsg" | "mtrapargsString" | "fnGenTrapMsg" => Self::OwnWords,
            _ => Self::None,
        }
    }
}

/// Which sentence a trap gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Sentence {
    /// The name and the variables.
    #[default]
    None,
    /// This text.
    Fixed(&'static str),
    LinkDown,
    LinkUp,
    AuthenticationFailure,
    BgpUp,
    BgpDown,
    BgpChange,
    OspfNeighbor,
    OspfInterface,
    Hsrp,
    /// What kind of part, whose state the trap tells.
    PartState(&'static str),
    /// What kind of part, and what became of it.
    Part(&'static str, &'static str),
    CiscoConfig,
    JuniperConfig,
    UpsOnBattery,
    UpsAlarm(&'static str),
    CiscoSyslog,
    JuniperSyslog,
    Tunnel(&'static str),
    /// The name and the device's own words.
    OwnWords,
}

impl Sentence {
    /// The sentence of a trap of MUTT's own table.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "coldStart" => Self::Fixed("Cold start: the device or its SNMP agent started anew"),
            "warmStart" => Self::Fixed("Warm start: the SNMP agent started anew"),
            "linkDown" => Self::LinkDown,
            "linkUp" => Self::LinkUp,
            "authenticationFailure" => Self::AuthenticationFailure,
            "egpNeighborLoss" => Self::Fixed("EGP neighbor lost"),
            "bgpEstablished"
            | "bgpEstablishedNotification"
            | "cbgpPeer2EstablishedNotification" => Self::BgpUp,
            "bgpBackwardTransition"
            | "bgpBackwardTransNotification"
            | "cbgpBackwardTransition"
            | "cbgpPeer2BackwardTransNotification"
            | "cbgpPeer2BackwardTransition" => Self::BgpDown,
            "cbgpFsmStateChange" | "cbgpPeer2FsmStateChange" => Self::BgpChange,
            "ospfNbrStateChange" => Self::OspfNeighbor,
            "ospfIfStateChange" => Self::OspfInterface,
            "newRoot" => Self::Fixed("This bridge became the root of the spanning tree"),
            "topologyChange" => Self::Fixed("Spanning tree topology changed"),
            "entConfigChange" => Self::Fixed("The parts of the device changed"),
            "cHsrpStateChange" => Self::Hsrp,
            "reload" => Self::Fixed("Device is restarting"),
            "ciscoConfigManEvent" => Self::CiscoConfig,
            "jnxCmCfgChange" => Self::JuniperConfig,
            "cefcModuleStatusChange" => Self::PartState("Module"),
            "cefcPowerStatusChange" => Self::PartState("Power supply"),
            "cefcFanTrayStatusChange" => Self::PartState("Fan tray"),
            "cefcFRUInserted" | "jnxFruInsertion" => Self::Part("Part", "was inserted"),
            "cefcFRURemoved" | "jnxFruRemoval" => Self::Part("Part", "was removed"),
            "cefcUnrecognizedFRU" => Self::Part("Part", "is not recognized"),
            "ciscoEnvMonVoltageNotification" | "ciscoEnvMonVoltStatusChangeNotif" => {
                Self::PartState("Voltage")
            }
            "ciscoEnvMonTemperatureNotification" | "ciscoEnvMonTempStatusChangeNotif" => {
                Self::PartState("Temperature")
            }
            "ciscoEnvMonFanNotification" | "ciscoEnvMonFanStatusChangeNotif" => {
                Self::PartState("Fan")
            }
            "ciscoEnvMonRedundantSupplyNotification" | "ciscoEnvMonSuppStatusChangeNotif" => {
                Self::PartState("Power supply")
            }
            "ciscoEnvMonShutdownNotification" => {
                Self::Fixed("Device is about to shut itself down: environment out of bounds")
            }
            "jnxPowerSupplyFailure" => Self::Part("Power supply", "failed"),
            "jnxPowerSupplyInputFailure" => Self::Part("Power supply", "has no input"),
            "jnxPowerSupplyOK" => Self::Part("Power supply", "is ok again"),
            "jnxPowerSupplyInputOK" => Self::Part("Power supply", "has input again"),
            "jnxFanFailure" => Self::Part("Fan", "failed"),
            "jnxFanOK" => Self::Part("Fan", "is ok again"),
            "jnxOverTemperature" => Self::Part("Part", "is too hot"),
            "jnxTemperatureOK" => Self::Part("Part", "is no longer too hot"),
            "jnxFruPowerOff" => Self::Part("Part", "was powered off"),
            "jnxFruPowerOn" => Self::Part("Part", "was powered on"),
            "jnxFruFailed" => Self::Part("Part", "failed"),
            "jnxFruOffline" => Self::Part("Part", "went offline"),
            "jnxFruOnline" => Self::Part("Part", "came online"),
            "jnxFruCheck" => Self::Part("Part", "has errors"),
            "jnxFruOK" => Self::Part("Part", "is ok again"),
            "jnxHardDiskFailed" => Self::Part("Disk of", "failed"),
            "jnxHardDiskMissing" => Self::Part("Disk of", "is missing"),
            "jnxHardDiskOK" => Self::Part("Disk of", "is ok again"),
            "jnxDyingGasp" => Self::Fixed("Device is going down: power lost"),
            "upsTrapOnBattery" => Self::UpsOnBattery,
            "upsTrapAlarmEntryAdded" => Self::UpsAlarm("raised"),
            "upsTrapAlarmEntryRemoved" => Self::UpsAlarm("cleared"),
            "nsNotifyStart" => Self::Fixed("SNMP agent started"),
            "nsNotifyShutdown" => Self::Fixed("SNMP agent is shutting down"),
            "nsNotifyRestart" => Self::Fixed("SNMP agent restarted"),
            "clogMessageGenerated" => Self::CiscoSyslog,
            "jnxSyslogTrap" => Self::JuniperSyslog,
            "fgTrapVpnTunUp" => Self::Tunnel("up"),
            "fgTrapVpnTunDown" => Self::Tunnel("down"),
            name if name.starts_with("bigip") || name.starts_with("fnTrap") => Self::OwnWords,
            "communicationLost"
            | "upsOverload"
            | "upsDiagnosticsFailed"
            | "upsDischarged"
            | "upsOnBattery"
            | "smartBoostOn"
            | "lowBattery"
            | "communicationEstablished"
            | "powerRestored"
            | "upsDiagnosticsPassed"
            | "returnFromLowBattery"
            | "upsTurnedOff"
            | "upsSleeping"
            | "upsWokeUp"
            | "upsRebootStarted" => Self::OwnWords,
            _ => Self::None,
        }
    }
}
