"""How long tests wait for other processes."""

#: Seconds after which a process counts as hanging. A loaded machine may need minutes for what takes
#: seconds, and nothing is lost by waiting: a test that passes does not wait for it.
PATIENCE = 600.0
