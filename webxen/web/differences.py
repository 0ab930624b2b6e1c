"""Texts of `verify`'s findings, as patterns for translation.

`sentences` has the other patterns, and `said` searches all of them.
"""

from django.utils.translation import gettext_noop as _

DIFFERENCES: tuple[str, ...] = (
    # --- summary
    _("%(why)s: all agree."),
    _("%(why)s: %(n)s findings, %(m)s of which --fix can mend."),
    _("%(n)s of %(m)s hosts, %(held)s machines, %(free)s domains and %(needed)s volumes were compared"),
    # --- a restored database
    _("No orders are given until staff has looked: %(why)s"),
    _("%(host)s was given an order for %(name)s on %(at)s UTC, and the database has no such machine."),
    _("%(host)s was given an order for %(name)s on %(at)s UTC, and the database does not know of it."),
    _("Staff restored a backup of the database."),
    _(
        "%(name)s of %(owner)s in %(project)s was made by this portal on %(at)s UTC and is "
        "missing here: on %(host)s it is %(state)s."
    ),
    _(
        "Machine %(label)s was made by a portal and is missing here: %(host)s has no receipt of it, and it "
        "is %(state)s there."
    ),
    _(
        "%(name)s was deleted on %(host)s: this portal ordered it on %(at)s UTC, and the database "
        "does not know of it."
    ),
    # --- what could not be looked at
    _("%(host)s %(why)s: its machines cannot be seen, so none is judged."),
    _("was never heard of"),
    _("was last heard of %(n)s seconds ago"),
    _("%(host)s cannot list its domains, so no power is judged there."),
    _("%(host)s does not say which disks it has, so none is called missing or left over."),
    _("The volumes of pool %(pool)s could not be listed, so none is called missing."),
    _("%(host)s holds more than it can tell: %(n)s volumes were seen."),
    # --- clocks
    _("The clock of %(host)s is %(time)s ahead of the portal's; it drops every order as expired."),
    _("The clock of %(host)s is %(time)s ahead of the portal's; it still obeys."),
    # --- domains
    _("%(label)s runs on %(names)s at the same time; %(why)s."),
    _("the machine belongs on %(host)s"),
    _("the machine has no host"),
    _("the database knows no such machine"),
    _("domain %(id)s (%(label)s, %(power)s, %(size)s)"),
    _("domain %(id)s without a name (%(power)s, %(size)s)"),
    _("Nobody here knows %(why)s with the uuid %(id)s."),
    _("%(name)s is deleted, and %(why)s is still there."),
    _("%(name)s has %(why)s on %(host)s; %(whys)s."),
    _("%(name)s runs with %(n)s MiB; the database says %(m)s MiB."),
    _("%(name)s runs with %(n)s vCPUs; the database says %(m)s."),
    _("%(name)s is %(state)s; the database says %(told)s."),
    # --- disks
    _("Volume %(label)s (%(size)s, %(pool)s)"),
    _("Draft %(label)s (%(size)s, %(pool)s)"),
    _("%(why)s of machine %(label)s belongs to nobody: %(whys)s."),
    _("%(why)s lies with %(name)s, which has no such disk."),
    _("%(why)s of %(name)s is on %(host)s; %(whys)s."),
    _("%(why)s of %(name)s should have %(n)s MiB."),
    _("The files of machine %(label)s are there, without a disk; %(why)s."),
    _("%(name)s is deleted"),
    _("the database knows no machine of that id"),
    _("%(name)s is %(state)s, and the database knows no disk of it."),
    _("Disk %(id)s of %(name)s is not in pool %(pool)s of %(host)s."),
    # --- orders
    _("%(host)s has obeyed order %(n)s for %(name)s; the database knows of %(m)s only, %(why)s."),
    _("so the host would refuse the next one"),
    _("so orders were given that the database has lost"),
    _("Job %(id)s (%(job)s %(name)s) has passed its time and has no end."),
    _("%(host)s works at job %(id)s, which is not open here."),
    # --- the portal itself
    _("%(name)s has failed, and it is %(power)s on %(host)s."),
    _("The keys and the password hash that %(name)s was made with are still kept."),
    _("The step %(label)s fails for %(id)s (%(n)s times): %(error)s."),
    _(
        "Pool %(pool)s of %(host)s: %(n)s MiB of %(m)s MiB are free, %(held)s MiB of %(limit)s MiB are "
        "promised."
    ),
    _("The signing key %(label)s cannot be used: no order can be sent."),
    # --- figures, addresses, images
    _("%(n)s MiB of %(host)s are promised; its machines hold %(m)s MiB."),
    _("%(name)s uses %(address)s, and no row says that it is given out."),
    _("%(names)s use one address: %(address)s on %(bridge)s."),
    _("%(address)s of %(label)s is still given out: %(why)s."),
    _("%(image)s on %(host)s is not the registered one: %(seen)s…, not %(wanted)s…."),
    _("%(image)s is not the same everywhere: %(names)s."),
    # --- the ledger
    _("%(name)s exists and holds nothing of its project's quota."),
    _("The quota of %(project)s counts %(sums)s; %(why)s."),
    _("its reservations hold %(sums)s"),
    _("its ledger adds up to %(sums)s"),
    _("%(id)s holds %(sums)s, and there is no such machine."),
    _("%(name)s has %(sums)s; held for it are %(held_sums)s."),
    _("%(name)s runs and is not counted as running."),
    _("%(name)s is off and is counted as running."),
    _("%(n)s machines"),
    _("%(n)s vCPUs"),
    _("%(n)s MiB memory"),
    _("%(n)s GiB disk"),
    _("%(n)s vCPUs running"),
    _("%(n)s MiB memory running"),
    # --- what was mended
    _("There is no host named %(name)s."),
    _("%(name)s is now %(state)s here, too."),
    _("The fence of %(name)s is now %(n)s."),
    _("%(n)s MiB of %(host)s are now promised."),
    _("It is free again."),
    _("The ledger is settled: %(n)s differences."),
    # --- cures
    _(
        "Look at what is told below, take missing machines back (manage.py readopt --all) and mend the rest "
        "(manage.py verify --fix). Then confirm that you have looked, here or with manage.py end_restore."
    ),
    _(
        "It is somebody's machine: touch neither its domain nor its disks. manage.py readopt writes it into "
        "the database again, from what this portal has signed and the host has kept."
    ),
    _("Delete it here, too: that gives its quota and its address back, and nothing is left on the host."),
    _("Stop it at once on the host where it does not belong, then check the disk's file system."),
    _("Find out who moved it. Stop it there, or correct its host; never start it here."),
    _("Find out why it runs, and ask its owner before you shut it down by hand."),
    _("Somebody started it by hand: leave it, move it away, or stop it by hand."),
    _("Do not start the machine. Look for the volume on the other hosts and in backups."),
    _("Find out who moved it; the machine cannot start from there."),
    _(
        "Find out whose it is, in backups of the database, too. It may be the only copy of somebody's "
        "machine: copy it before you remove anything."
    ),
    _("Find out who changed it; the quota counts what the database says."),
    _("Find out whose they are, in backups of the database, too. Left where they are they do no harm."),
    _("Its rows are damaged: restore them from a backup of the database."),
    _("--fix takes the power that the host has just shown."),
    _("Power the machine off and start it: it then gets what the database says."),
    _(
        "The host's files are newer than the database, as after restoring a backup: check what was done "
        "since. --fix lifts the fence, so that the host obeys again."
    ),
    _("See that beat and the reports worker run: the sweep ends such jobs by itself."),
    _("The host works at a job that is not open here. Wait; look at the host's log if it stays."),
    _("--fix settles the ledger: it then says what machines hold."),
    _("Find out how it came about. --fix settles the ledger: it then says what machines hold."),
    _("--fix sets the promised memory to the sum of its machines."),
    _("Two machines answer to one address: delete or re-make one of them."),
    _("Another machine may be given the same address: make the missing row."),
    _("--fix gives the address back."),
    _(
        "Set the host's clock (chrony), or the portal's if every host is ahead: an order is void when a clock"
        " is further ahead than WEBXEN_ORDER_TTL_SECONDS."
    ),
    _("Put the registered file onto the host, or register the new one."),
    _("Start the worker's services on the host and look at its network, then verify again."),
    _("Look at the host: `xl list` does not answer there."),
    _("Its owner can shut it down or power it off: once its host has done so, it is as good as any other."),
    _("--fix removes them: nothing needs them once a machine is made."),
    _("It is tried again in every round; the others go on. The logs of clock and reports hold its id."),
    _("Make room in the pool or make it larger; machines that find no room wait for it."),
    _("`manage.py portal_key` makes one that is missing; the portal's account must be able to read it."),
    _("Update the worker on the host: this one does not say which disks it has."),
    _("Look at the pool on the host: its volumes could not be listed."),
    _("The host has more than it can tell in one message: look at it by hand."),
)
