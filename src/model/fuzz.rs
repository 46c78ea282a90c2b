//! Hostile interactions.

use super::{Interaction, NameTable};
use crate::mutation::fuzz;

#[test]
fn interaction_objects() {
    let inputs = [
        r#"{"guid":"018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44","start":"2024-03-05T09:14:07Z","connectFrom":"+4420","connectTo":null,
        "direction":"inbound","handlingAgents":[{"id":"7"},{"id":8}],"content":[{"contentKey":"callRecording",
        "type":"callRecording","contentType":"audio/wav","contentLength":12,"lastModified":"2024-03-05T09:20:31Z",
        "properties":{}},{"contentKey":"attachment-1","type":"attachment","contentType":"application/pdf",
        "contentLength":"12","lastModified":"2024-03-05T09:20:31.123456Z","properties":{"fileName":"a.pdf"}}]}"#,
        r#"{"guid":"018C2F5E-77AA-4D10-9C51-6F0D3B2A9E44","start":"2024-03-05T09:14:07+01:00","direction":"x",
        "handlingAgents":{},"content":[{"contentKey":"..","type":"../x"},{"contentKey":"a/b","type":"transcript"},{}]}"#,
    ];
    let many = format!(
        r#"{{"guid":"018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44","start":"2024-03-05T09:14:07Z","handlingAgents":[{agents}[0]],
        "content":[{items}{{"contentKey":7,"properties":{{"x":{deep},"Name":"a"}}}}]}}"#,
        agents = "0,".repeat(1000),
        items = "{},".repeat(1000),
        deep = "[".repeat(1000) + &"]".repeat(1000),
    );
    let mut inputs: Vec<Vec<u8>> = inputs.map(|text| text.as_bytes().to_vec()).into();
    inputs.push(many.into_bytes());
    fuzz("interaction objects", inputs, 5000, |input| {
        let text = std::str::from_utf8(input).ok()?;
        let interaction = Interaction::from_json(text).ok()?;
        let names = NameTable::assign(&interaction.items, None);
        let all: Vec<&str> = names.entries().map(|(_, name)| name).collect();
        assert_eq!(all.len(), interaction.items.len());
        for (place, name) in all.iter().enumerate() {
            assert!((1..=255).contains(&name.len()) && *name != "." && *name != "..");
            assert!(
                !name.chars().any(|c| c == '/' || c.is_control()),
                "{name:?}"
            );
            assert_eq!(names.resolve(name), Some(place), "one name, one item");
        }
        assert_eq!(NameTable::assign(&interaction.items, Some(&names)), names);
        let _ = interaction.modified();
        let items: Vec<_> = interaction
            .items
            .iter()
            .map(|item| {
                (
                    item.version.length.is_some(),
                    item.version.last_modified.is_some(),
                )
            })
            .collect();
        Some((items, interaction.agents.len()))
    });
}
