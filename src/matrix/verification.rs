//! How the bot's device stands with other people: whether its owner has signed it.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use matrix_sdk::Client;

use super::DeviceTrust;

/// Returns what the local store knows; the first key query after a login may still be on its way.
pub(super) async fn device_trust(client: &Client) -> DeviceTrust {
    match client.encryption().get_own_device().await {
        Ok(Some(device)) if device.is_cross_signed_by_owner() => DeviceTrust::Verified,
        Ok(Some(_)) => DeviceTrust::Unverified,
        Ok(None) | Err(_) => DeviceTrust::Unknown,
    }
}

/// Tells whether the device is verified, now and whenever that changes.
pub struct Trust {
    client: Client,
    changes: Pin<Box<dyn Stream<Item = ()> + Send>>,
}

impl Trust {
    pub(super) fn of(client: &Client) -> Self {
        let changes = client.encryption().verification_state();
        Self {
            client: client.clone(),
            changes: Box::pin(changes.map(|_| ())),
        }
    }

    /// Returns what is known now.
    pub async fn now(&mut self) -> DeviceTrust {
        device_trust(&self.client).await
    }

    /// Waits until it may have changed; for ever, if it never will.
    pub async fn changed(&mut self) {
        if self.changes.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
