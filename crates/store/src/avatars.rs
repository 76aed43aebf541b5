//! The uploaded pictures of nodes, so that none is uploaded again after a restart. Losing a row costs an upload.

use crate::{Result, Tx, columns::identifier};
use relay_model::{AvatarPlace, NodeAvatar, Timestamp, UserId};

/// Stores where a picture is, in the place of an earlier one.
pub fn keep(tx: &Tx<'_>, avatar: &NodeAvatar, now: Timestamp) -> Result<()> {
    let (encrypted, place) = match &avatar.place {
        AvatarPlace::Plain(place) => (false, place),
        AvatarPlace::Encrypted(place) => (true, place),
    };
    tx.run(
        "INSERT INTO avatar (account, node, encrypted, place, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account, node, encrypted) DO UPDATE SET place = excluded.place, at = excluded.at",
        (avatar.account.as_str(), avatar.node, encrypted, place, now),
    )
}

/// Returns the pictures that an account has uploaded.
pub fn all(tx: &Tx<'_>, account: &UserId) -> Result<Vec<NodeAvatar>> {
    tx.all(
        "SELECT account, node, encrypted, place FROM avatar WHERE account = ?1",
        [account.as_str()],
        |row| {
            let place = row.get("place")?;
            Ok(NodeAvatar {
                account: identifier(row, "account")?,
                node: row.get("node")?,
                place: if row.get("encrypted")? {
                    AvatarPlace::Encrypted(place)
                } else {
                    AvatarPlace::Plain(place)
                },
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rows::*;

    #[test]
    fn an_account_has_one_picture_of_a_node_for_each_kind_of_room() {
        on_empty(|tx| {
            let avatar = |account: &str, place| NodeAvatar {
                account: account.try_into().unwrap(),
                node: ALICE,
                place,
            };
            let plain = |place: &str| AvatarPlace::Plain(place.to_owned());
            let own = "@bot:example.org";
            let encrypted = avatar(own, AvatarPlace::Encrypted("{}".to_owned()));
            let second = avatar(own, plain("mxc://example.org/b"));
            for it in [
                avatar(own, plain("mxc://example.org/a")),
                second.clone(),
                encrypted.clone(),
                avatar("@other:example.org", plain("mxc://example.org/c")),
            ] {
                keep(tx, &it, NOON)?;
            }
            let account = relay_model::OwnedUserId::try_from(own).unwrap();
            assert_eq!(all(tx, &account)?, [second, encrypted]);
            Ok(())
        });
    }
}
