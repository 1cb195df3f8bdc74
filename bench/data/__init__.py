"""From raw interactions to prediction rows: sources, filters, protocols, storage."""
