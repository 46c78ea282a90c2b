//! What a directory and a name in it mean.
//!
//! [`Node`] names every place of the tree; equal nodes are the same file or directory. [`meaning`] says
//! what a name can lead to, without knowing what exists: names that can never exist are told apart from
//! those that somebody has to be asked about, because the former must never cost a request.

use crate::model::{AgentId, ContentId, Day, Guid};

use super::view_names;

/// The name of the directory that is reachable but not listed.
pub const PRIVATE_NAME: &str = ".interactionfs";

/// The name of an interaction's metadata.
pub const METADATA_NAME: &str = "interaction.json";

/// A way to look at the interactions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum View {
    /// Links by day.
    ByDate,
    /// Links by agent.
    ByAgent,
    /// Transcripts as plain text, by day.
    Text,
}

/// A file of `.interactionfs`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SpecialFile {
    /// Counters of the mount.
    Stats,
    /// The program's version.
    Version,
    /// The options in force, without secrets.
    Config,
}

/// A place of the tree. For files with content, one version of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Node {
    /// The mount's root.
    Root,
    /// The directory of an interaction.
    Interaction(Guid),
    /// A GUID in other than lower case: a link to the interaction's directory.
    UpperCaseLink(Guid),
    /// `interaction.json`, with a hash of its text as its version.
    Metadata(Guid, u64),
    /// A version of an item.
    Item(ContentId),
    /// A view's link in the root.
    RootLink(View),
    /// `.interactionfs`.
    Private,
    /// A file in `.interactionfs`.
    Special(SpecialFile),
    /// `.interactionfs/views`.
    Views,
    /// A view's directory.
    ViewDirectory(View),
    /// A day of `by-date`.
    Day(Day),
    /// An agent of `by-agent`; `None` for interactions without any.
    Agent(Option<AgentId>),
    /// A day of `text`.
    TextDay(Day),
    /// A link in a day of `by-date`.
    DateLink(Guid),
    /// A link in an agent's directory.
    AgentLink(Option<AgentId>, Guid),
    /// A version of a transcript, as text.
    Text(ContentId, TextForm),
}

/// A form that a transcript's text takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TextForm {
    /// A line a phrase.
    Plain,
    /// Subtitles, SubRip.
    Srt,
    /// Subtitles, WebVTT.
    Vtt,
}

impl TextForm {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Srt, Self::Vtt];

    /// The name of this form beside the recording; players find subtitles by the recording's name.
    pub fn sidecar_name(self) -> &'static str {
        match self {
            Self::Plain => "transcript.txt",
            Self::Srt => "callRecording.srt",
            Self::Vtt => "callRecording.vtt",
        }
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain",
            Self::Srt => "application/x-subrip",
            Self::Vtt => "text/vtt",
        }
    }
}

/// What a name in a directory can lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// Nothing, ever.
    Never,
    /// A place that always exists.
    Always(Node),
    /// An interaction's directory, if there is such an interaction.
    Interaction(Guid),
    /// A link to an interaction's directory, if there is such an interaction.
    UpperCase(Guid),
    /// The metadata or an item of this interaction.
    InInteraction(Guid),
    /// An agent's directory, if an agent has this name.
    Agent,
    /// A link in a view or a text, if this interaction exists and has exactly this name there.
    InView(Guid),
}

impl View {
    /// All views, in the order in which the root lists them.
    pub const ALL: [Self; 3] = [Self::ByDate, Self::ByAgent, Self::Text];

    /// Its name, in the root and in `.interactionfs/views`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByDate => "by-date",
            Self::ByAgent => "by-agent",
            Self::Text => "text",
        }
    }
}

impl SpecialFile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stats, Self::Version, Self::Config];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stats => "stats.json",
            Self::Version => "version",
            Self::Config => "config.toml",
        }
    }
}

impl Node {
    /// Whether names can be looked up in it.
    pub fn is_directory(&self) -> bool {
        matches!(
            self,
            Self::Root
                | Self::Interaction(_)
                | Self::Private
                | Self::Views
                | Self::ViewDirectory(_)
                | Self::Day(_)
                | Self::Agent(_)
                | Self::TextDay(_)
        )
    }

    /// Where it leads, if it is a symbolic link.
    pub fn link_target(&self) -> Option<String> {
        match self {
            Self::UpperCaseLink(guid) => Some(guid.to_string()),
            Self::RootLink(view) => Some(view_names::root_link_target(*view)),
            Self::DateLink(guid) | Self::AgentLink(_, guid) => Some(view_names::link_target(*guid)),
            _ => None,
        }
    }

    /// The interaction that it is, lies in, tells of or leads to.
    pub fn interaction(&self) -> Option<Guid> {
        match self {
            Self::Interaction(guid)
            | Self::UpperCaseLink(guid)
            | Self::Metadata(guid, _)
            | Self::DateLink(guid)
            | Self::AgentLink(_, guid) => Some(*guid),
            Self::Item(id) | Self::Text(id, _) => Some(id.guid),
            _ => None,
        }
    }

    /// The directory that it lies in, as far as that is known from the node alone; for `..`.
    pub fn parent(&self) -> Self {
        match self {
            Self::Item(id) => Self::Interaction(id.guid),
            Self::Metadata(guid, _) => Self::Interaction(*guid),
            Self::Special(_) | Self::Views => Self::Private,
            Self::ViewDirectory(_) => Self::Views,
            Self::Day(_) => Self::ViewDirectory(View::ByDate),
            Self::Agent(_) => Self::ViewDirectory(View::ByAgent),
            Self::TextDay(_) => Self::ViewDirectory(View::Text),
            Self::AgentLink(agent, _) => Self::Agent(agent.clone()),
            _ => Self::Root,
        }
    }

    /// Bytes that differ for different nodes, and are the same in every run of the program: what an inode
    /// number is computed from.
    pub fn identity(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40);
        match self {
            Self::Root => bytes.push(0),
            Self::Interaction(guid) => tag(&mut bytes, 1, guid.as_bytes()),
            Self::UpperCaseLink(guid) => tag(&mut bytes, 2, guid.as_bytes()),
            Self::Metadata(guid, version) => {
                tag(&mut bytes, 3, guid.as_bytes());
                bytes.extend_from_slice(&version.to_le_bytes());
            }
            Self::Item(id) => tag(&mut bytes, 4, &id.fingerprint().to_le_bytes()),
            Self::RootLink(view) => tag(&mut bytes, 5, view.name().as_bytes()),
            Self::Private => bytes.push(6),
            Self::Special(file) => tag(&mut bytes, 7, file.name().as_bytes()),
            Self::Views => bytes.push(8),
            Self::ViewDirectory(view) => tag(&mut bytes, 9, view.name().as_bytes()),
            Self::Day(day) => tag(&mut bytes, 10, day.to_string().as_bytes()),
            Self::Agent(agent) => {
                bytes.push(11);
                agent_identity(&mut bytes, agent.as_ref());
            }
            Self::TextDay(day) => tag(&mut bytes, 12, day.to_string().as_bytes()),
            Self::DateLink(guid) => tag(&mut bytes, 13, guid.as_bytes()),
            Self::AgentLink(agent, guid) => {
                tag(&mut bytes, 14, guid.as_bytes());
                agent_identity(&mut bytes, agent.as_ref());
            }
            Self::Text(id, form) => {
                tag(&mut bytes, 15, &id.fingerprint().to_le_bytes());
                bytes.push(*form as u8);
            }
        }
        bytes
    }
}

fn tag(bytes: &mut Vec<u8>, tag: u8, rest: &[u8]) {
    bytes.push(tag);
    bytes.extend_from_slice(rest);
}

fn agent_identity(bytes: &mut Vec<u8>, agent: Option<&AgentId>) {
    match agent {
        None => bytes.push(0),
        Some(agent) => tag(bytes, 1, agent.as_str().as_bytes()),
    }
}

/// What `name` means in `directory`.
pub fn meaning(directory: &Node, name: &str) -> Meaning {
    match directory {
        Node::Root => in_root(name),
        Node::Interaction(guid) => Meaning::InInteraction(*guid),
        Node::Private if name == "views" => Meaning::Always(Node::Views),
        Node::Private => SpecialFile::ALL
            .into_iter()
            .find(|file| file.name() == name)
            .map_or(Meaning::Never, |file| Meaning::Always(Node::Special(file))),
        Node::Views => view_named(name).map_or(Meaning::Never, |view| {
            Meaning::Always(Node::ViewDirectory(view))
        }),
        Node::ViewDirectory(View::ByDate) => name
            .parse()
            .map_or(Meaning::Never, |day| Meaning::Always(Node::Day(day))),
        Node::ViewDirectory(View::Text) => name
            .parse()
            .map_or(Meaning::Never, |day| Meaning::Always(Node::TextDay(day))),
        Node::ViewDirectory(View::ByAgent) if name == view_names::agent_directory(None) => {
            Meaning::Always(Node::Agent(None))
        }
        Node::ViewDirectory(View::ByAgent) => Meaning::Agent,
        Node::Day(_) => view_names::parse_in_day(name).map_or(Meaning::Never, Meaning::InView),
        Node::Agent(_) => view_names::parse_in_agent(name).map_or(Meaning::Never, Meaning::InView),
        Node::TextDay(_) => {
            view_names::parse_text_in_day(name).map_or(Meaning::Never, Meaning::InView)
        }
        _ => Meaning::Never,
    }
}

fn in_root(name: &str) -> Meaning {
    if name == PRIVATE_NAME {
        return Meaning::Always(Node::Private);
    }
    if let Some(view) = view_named(name) {
        return Meaning::Always(Node::RootLink(view));
    }
    match name.parse() {
        Ok(guid) if Guid::is_canonical(name) => Meaning::Interaction(guid),
        Ok(guid) => Meaning::UpperCase(guid),
        Err(_) => Meaning::Never,
    }
}

fn view_named(name: &str) -> Option<View> {
    View::ALL.into_iter().find(|view| view.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "2480fc2c-bbd7-427c-9439-02f76583aef5";

    #[test]
    fn only_guids_and_known_names_mean_something_in_the_root() {
        let guid: Guid = GUID.parse().unwrap();
        assert_eq!(meaning(&Node::Root, GUID), Meaning::Interaction(guid));
        assert_eq!(
            meaning(&Node::Root, &GUID.to_uppercase()),
            Meaning::UpperCase(guid)
        );
        assert_eq!(
            meaning(&Node::Root, "by-agent"),
            Meaning::Always(Node::RootLink(View::ByAgent))
        );
        for name in [
            ".Trash",
            ".Trash-1000",
            "autorun.inf",
            ".hidden",
            "2480fc2c",
            "",
        ] {
            assert_eq!(meaning(&Node::Root, name), Meaning::Never, "{name}");
        }
    }

    #[test]
    fn any_day_is_reachable_and_nothing_else_in_by_date() {
        let by_date = Node::ViewDirectory(View::ByDate);
        let day: Day = "2025-03-17".parse().unwrap();
        assert_eq!(
            meaning(&by_date, "2025-03-17"),
            Meaning::Always(Node::Day(day))
        );
        assert_eq!(meaning(&by_date, "2025-3-17"), Meaning::Never);
        assert_eq!(
            meaning(&Node::Day(day), &format!("101500Z_inbound_{GUID}")),
            Meaning::InView(GUID.parse().unwrap())
        );
        assert_eq!(meaning(&Node::Day(day), GUID), Meaning::Never);
    }

    #[test]
    fn links_are_relative() {
        let guid: Guid = GUID.parse().unwrap();
        assert_eq!(
            Node::DateLink(guid).link_target(),
            Some(format!("../../../../{GUID}"))
        );
        assert_eq!(
            Node::RootLink(View::Text).link_target().as_deref(),
            Some(".interactionfs/views/text")
        );
        assert_eq!(Node::Root.link_target(), None);
    }

    #[test]
    fn different_places_have_different_identities() {
        let guid: Guid = GUID.parse().unwrap();
        let day: Day = "2025-03-17".parse().unwrap();
        let nodes = [
            Node::Root,
            Node::Interaction(guid),
            Node::UpperCaseLink(guid),
            Node::Metadata(guid, 1),
            Node::Metadata(guid, 2),
            Node::DateLink(guid),
            Node::AgentLink(None, guid),
            Node::AgentLink(Some(AgentId::new("")), guid),
            Node::Day(day),
            Node::TextDay(day),
            Node::Agent(None),
            Node::Agent(Some(AgentId::new("none"))),
        ];
        let identities: std::collections::HashSet<_> = nodes.iter().map(Node::identity).collect();
        assert_eq!(identities.len(), nodes.len());
    }
}
