//! What fleet remembers: SQLite behind one door.
