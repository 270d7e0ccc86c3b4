"""Records to what people read: tables.py for terminals and the README, pages.py for pictures and HTML."""
