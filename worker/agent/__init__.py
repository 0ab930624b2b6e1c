"""The root daemon of a dom0: it takes signed orders, carries them out, recovers and cancels them."""
