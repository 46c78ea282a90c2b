#!/bin/sh
# In place of interactionfs: does what the test says. A file of the repository, because a script that a
# test has just written may still be "busy" when it is run.
eval "$PROGRAM"
