"""What strangers may send, on every subject that is read: dropped or buried, counted, logged; and life goes on."""
