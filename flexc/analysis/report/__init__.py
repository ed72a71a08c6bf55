"""The report of an artefact: one HTML page with everything inside, for any browser, offline."""
