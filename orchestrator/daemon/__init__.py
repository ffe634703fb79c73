"""The manager process: one asyncio loop that serves the API socket and wakes the supervisor."""
