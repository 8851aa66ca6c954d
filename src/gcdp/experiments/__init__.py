"""The only room that knows profiles: from settings to runs, records and studies."""
