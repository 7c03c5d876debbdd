"""Breaks replicas in the middle of streams and checks that every client still reads its whole answer.

Here live the requests, the client that reads them strictly, the faults, and the comparison with an undisturbed run.
Nothing of the gate's own reading of streams may be used here: the judge does not share code with the judged.
"""
