"""What people see: progress (plain or live), merged logs, tables. Nothing here talks to the manager."""
