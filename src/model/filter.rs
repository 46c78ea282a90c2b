//! The filters that a search takes.

use super::{AgentId, Interaction, Personal};

/// Who started an interaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// The customer.
    Inbound,
    /// An agent.
    Outbound,
    /// A value that is not documented, in lower case; empty when the API gave none.
    Other(Box<str>),
}

impl Direction {
    /// The API's word, in any case.
    pub fn from_wire(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "inbound" => Self::Inbound,
            "outbound" => Self::Outbound,
            other => Self::Other(other.into()),
        }
    }

    /// The API's word, in lower case; empty when it gave none.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Other(word) => word,
        }
    }
}

/// What narrows a search, beside its window. The default narrows nothing.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct SearchFilter {
    /// Only interactions that this agent handled.
    pub agent: Option<AgentId>,
    /// Only this direction.
    pub direction: Option<Direction>,
    /// Only initiating addresses that start with this text.
    pub connect_from: Option<Personal<Box<str>>>,
    /// Only contacted addresses that start with this text.
    pub connect_to: Option<Personal<Box<str>>>,
}

impl SearchFilter {
    /// Whether every interaction passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Applies the filters again to what came back, which hides differences in how servers read them
    /// (API reference, 5.1).
    pub fn admits(&self, interaction: &Interaction) -> bool {
        self.agent
            .as_ref()
            .is_none_or(|agent| interaction.agents.contains(agent))
            && self
                .direction
                .as_ref()
                .is_none_or(|direction| interaction.direction == *direction)
            && starts_with(
                self.connect_from.as_ref(),
                interaction.connect_from.as_ref(),
            )
            && starts_with(self.connect_to.as_ref(), interaction.connect_to.as_ref())
    }
}

fn starts_with(wanted: Option<&Personal<Box<str>>>, address: Option<&Personal<Box<str>>>) -> bool {
    wanted.is_none_or(|wanted| {
        address.is_some_and(|address| address.reveal().starts_with(&**wanted.reveal()))
    })
}
