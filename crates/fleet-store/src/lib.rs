//! What fleet remembers: SQLite behind one door.
//!
//! Many processes share one file. It is in WAL mode with `synchronous=FULL`; a writer waits for the file lock
//! `<database>.lock` before it begins, so that writers queue in the kernel and nobody polls. Reads never write. SQL
//! exists in this crate only, and no type of SQLite leaves it.
//!
//! A transaction never spans a fork, another program or the network: the closures given to this crate are short.

mod agents;
mod crews;
mod damage;
mod events;
mod failure;
mod grants;
mod intents;
mod migrate;
mod money;
mod open;
mod parts;
mod reserve;
mod runs;
mod salvage;
mod snapshot;
mod tasks;
mod told;
mod turn;
mod values;

pub use grants::{Given, Grant};
pub use intents::{Begun, Intent, Outcome, Owner};
pub use money::{Account, Hold, Of, Rest, Room};
pub use open::Store;
pub use reserve::{PortRange, Reservation};
pub use runs::{Change, Turn};
pub use salvage::Salvage;
pub use tasks::{NewTask, Place, Reported};
pub use told::Told;
