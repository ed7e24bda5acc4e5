"""What bench/compare is made of: rows.py the table of targets, runs.py what is started, page.py how it is shown."""
