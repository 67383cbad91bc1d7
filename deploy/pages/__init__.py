"""Pages for people: HTML that stands alone, made from answers of the services."""
