"""The trusted half of a migration's transport, run by the root agent: it reads the stream
and holds GO back.
"""
