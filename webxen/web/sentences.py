"""The domain's messages, as patterns for translation.

`differences` has those of `verify`; `said` finds a message among them when it is displayed. Stored texts and
the API stay English. Each `%(…)s` is a part; `said.PARTS` defines what it matches. A test in
`tests/conventions` fails if a message of the domain is missing.
"""

from django.utils.translation import gettext_noop as _

from webxen.web.differences import DIFFERENCES

SENTENCES: tuple[str, ...] = (
    *DIFFERENCES,
    # --- common
    _("There is no such thing, or it is not yours."),
    _("%(host)s shows no domain with this uuid that is not one of our machines."),
    _("The database does not answer at the moment. Look whether it was done after all, then try again."),
    # --- before a request reaches Django
    _("The body may have %(n)s bytes at most. Send less."),
    _("Too many requests. Try again in %(n)s seconds."),
    _("The cookies are too large. Delete this site's cookies and sign in again."),
    _("The body did not arrive in time. Send the request again, all of it at once."),
    _("The portal is busy at the moment, and nothing was done. Try again in some seconds."),
    _("Too many requests wait already. Ask without `wait`, or once others have ended."),
    # --- requests
    _(
        "%(n)s of your requests wait for staff, and there may be %(limit)s. Withdraw one, or wait "
        "until staff has decided."
    ),
    # --- tokens
    _("Give the token a name of 1 to %(n)s printable characters."),
    _("There is no scope %(name)s. Scopes: %(names)s."),
    _("This time has passed."),
    _("The token cannot be made like this."),
    _("You have %(n)s tokens and may have no more. Revoke one you do not use."),
    _("A token made with a token may do no more than that one."),
    _("A token made with a token lives no longer than that one."),
    _("The token was revoked meanwhile."),
    _("Used from more than %(n)s addresses: no more are noted."),
    # --- signing in
    _("There is no account of that name."),
    _("Too many failed tries."),
    _("Wrong second factor."),
    # --- hosts
    _("Nobody has said where hosts find the broker: set WEBXEN_BROKER_PUBLIC_URL, e.g. %(names)s."),
    _(
        "Letters, digits, hyphens and dots, at most 63 characters; each part between the dots begins and ends"
        " with a letter or a digit."
    ),
    _(
        "This host is not let in: the token is unknown, used or too old, or the signature is not "
        "good. Ask staff for a new token."
    ),
    _("This cannot be a host's name."),
    _("%(name)s has joined already. Say that it may join again, to give it a new key."),
    _("%(name)s does not wait to be accepted."),
    _("%(name)s shows another key now. Compare its fingerprint again."),
    _("This is no Ed25519 public key."),
    _("One PEM block."),
    _("%(name)s has changed just now. Look at it again."),
    _("%(name)s is not in a state this can happen from."),
    _("Network %(name)s is busy giving out addresses. Try again in a moment."),
    _("Network %(name)s has no free address. Delete a machine or take another network."),
    _("%(n)s machines are on this host. Move or delete them first."),
    # --- placement
    _("No host is known yet."),
    _("No host has room: %(whys)s."),
    _("%(n)s more hosts have no room either"),
    _("%(n)s more hosts cannot take it either."),
    _("takes no new machines"),
    _("has not been heard of lately"),
    _("%(free)s MiB memory free, %(needed)s MiB needed"),
    _("%(free)s MiB disk free and not promised, %(needed)s MiB needed"),
    _("%(free)s vCPUs free, %(needed)s needed"),
    _("has no pool named %(pool)s"),
    _("has no bridge %(bridge)s"),
    _("its copy of image %(image)s is not the registered one"),
    _("has a machine of group %(group)s already"),
    _("there is no other host"),
    # --- quota
    _("This machine holds nothing of its project's quota. Ask staff."),
    _("The quota was full a moment ago. Try again."),
    _("Only staff may set a quota."),
    _("Only staff may raise a quota."),
    _("Only staff may settle the ledger."),
    _("%(n)s machine over quota: %(held)s of %(limit)s reserved"),
    _("%(n)s machines over quota: %(held)s of %(limit)s reserved"),
    _("%(n)s vCPU over quota: %(held)s of %(limit)s reserved"),
    _("%(n)s vCPUs over quota: %(held)s of %(limit)s reserved"),
    _("%(n)s vCPU over quota: %(held)s of %(limit)s running"),
    _("%(n)s vCPUs over quota: %(held)s of %(limit)s running"),
    _("%(size)s memory over quota: %(held_size)s of %(limit_size)s reserved"),
    _("%(size)s disk over quota: %(held_size)s of %(limit_size)s reserved"),
    _("%(size)s memory over quota: %(held_size)s of %(limit_size)s running"),
    _("%(n)s machines, %(held)s vCPU, %(size)s memory, %(limit_size)s disk"),
    _("%(n)s machines, %(held)s vCPU, %(size)s memory, %(limit_size)s disk, %(needed)s vCPU running"),
    _("%(n)s machines, %(held)s vCPU, %(size)s memory, %(limit_size)s disk, %(held_size)s memory running"),
    _(
        "%(n)s machines, %(held)s vCPU, %(size)s memory, %(limit_size)s disk, "
        "%(needed)s vCPU running, %(held_size)s memory running"
    ),
    # --- what may be asked of a machine
    _("It is deleted."),
    _("%(name)s is deleted."),
    _("It is %(state)s."),
    _("It has no host yet."),
    _("Its host has not said whether it runs."),
    _("Only staff moves machines."),
    _("A job is open: %(job)s. Wait until it ends."),
    _("%(name)s is %(state)s, so this cannot happen now."),
    _("%(name)s cannot start now."),
    _("%(name)s cannot shut down now."),
    _("%(name)s cannot reboot now."),
    _("%(name)s cannot be powered off now."),
    _("%(name)s cannot be deleted now."),
    _("%(name)s cannot move now."),
    _("A job is open for %(name)s: %(job)s. Wait until it ends."),
    _("A job is open for %(name)s. Wait until it ends."),
    _("Somebody else acted on %(name)s a moment ago. Look at it again."),
    _("%(name)s has just been given a host. Look at it again."),
    _("The machine has no console yet: it has no host. Wait until it is being built."),
    # --- names and texts
    _("The name must be text."),
    _("The name must have 1 to %(n)s characters."),
    _("The name may hold only a-z, 0-9 and hyphens, and starts and ends with a letter or digit."),
    _("The name must not be a number."),
    _("The name must not hold two hyphens in a row."),
    _("The name %(name)s is reserved by Xen."),
    _("%(project)s already has a machine named %(name)s. Choose another name."),
    _("Another administrator must raise the quota for what you asked for yourself."),
    _("A request for a machine named %(name)s is already pending in %(project)s. Choose another name."),
    _("The description must be text of at most %(n)s characters."),
    _("Tags are at most %(n)s texts of 1 to %(m)s printable characters."),
    # --- jobs
    _("%(name)s is already running."),
    _("%(name)s is already off."),
    _("The message broker is away. The job is sent as soon as it is back."),
    _(
        "The message broker has not taken the cancel: it has not reached the host, which may still begin "
        "the job. It is sent as soon as the broker takes it."
    ),
    _("The message broker is busy with a script. The job is sent as soon as that has ended."),
    _("The message broker's memory is full: staff must look. The job is sent as soon as there is room."),
    _("The message broker cannot save to its disk: staff must look. The job is sent as soon as it can."),
    _("The message broker is starting. The job is sent as soon as it is ready."),
    _("The message broker takes nothing in for now: staff must look. The job is sent as soon as it does."),
    _("The message broker has too many connections: staff must look. The job is sent when there is room."),
    _("The message broker refuses the portal's account: staff must look. The job is sent after that."),
    _("The message broker refused the order: staff finds why in the portal's log. The job is sent again."),
    _("The portal's signing key cannot be used: staff must look. The job is sent as soon as it can."),
    _("The host has a new key that staff has not accepted yet. The job is sent as soon as it has."),
    _("Cancelling: the host stops at the next safe point."),
    _("%(host)s has just given the space of its pool %(pool)s to another machine."),
    _("The host said so after the job had been given up."),
    _("They are gone."),
    _("The job has just moved on. Look at it again."),
    _("The job has ended (%(end)s), so there is nothing to cancel."),
    _("A %(job)s that has begun is finished: half of it would be worse than all of it."),
    _("The move is over; what is left of it is being settled."),
    _("%(host)s has the word to run it: nobody can take that back."),
    _("%(host)s did not answer, so nobody knows whether it began this job."),
    _("%(host)s took this job and did not say how it ended."),
    _("What it did is not known: staff must look at the host."),
    _("it had no host yet"),
    _("on %(host)s"),
    _("by %(name)s"),
    _("%(source)s to %(target)s, %(method)s"),
    _("%(source)s to %(target)s"),
    _("%(host)s is off, said %(name)s"),
    _("%(n)s of %(m)s machines"),
    # --- one move
    _(
        "Its disks are in pool %(names)s of %(host)s alone. It can move only switched off, and they "
        "are copied."
    ),
    _(
        "Its disks are files in pool %(names)s, which each host keeps parts of in its own memory. It "
        "can move only switched off."
    ),
    _("It has no kernel named %(names)s."),
    _("It still keeps the machine's disks of an earlier move: let them go first."),
    _("%(free)s MiB free and not promised in its pool %(pool)s, %(needed)s MiB needed."),
    _("It would be off for about %(time)s."),
    _("%(name)s would be off for about %(time)s: if that is fine, ask for the method cold (“Switched off”)."),
    _("It is off, so it moves switched off."),
    _("Only staff lets disks go."),
    _("No host keeps disks of this move."),
    _("It is on this host already."),
    _("It takes no machines now."),
    _("It has not been heard of lately."),
    _("%(host)s, where the machine is, has not been heard of lately."),
    _("Its worker cannot receive machines: it has shown no relay."),
    _("The worker of %(host)s has shown no relay to send by."),
    _("%(free)s MiB memory free, %(needed)s MiB needed."),
    _("It has no bridge %(names)s."),
    _("It has no pool named %(names)s."),
    _("It could not read its list of domains."),
    _("A domain of this name or id is there already: find out what it is."),
    _("It cannot run %(type)s guests (no %(names)s)."),
    _("It is %(type)s, %(host)s is %(here)s."),
    _("Its processor lacks %(n)s of %(host)s's features (%(names)s)."),
    _(
        "Its processor lacks %(n)s of %(host)s's features (%(names)s). Shut the machine down and "
        "start it: it then gets what all hosts have."
    ),
    _("%(names)s did not say which features the processor has."),
    _(
        "Its Xen %(n)s is older than %(m)s of %(host)s: Xen reads what its own and older versions "
        "have written."
    ),
    _("Its Xen %(n)s is newer than %(m)s of %(host)s: the machine could not move back."),
    _(
        "Its processor has %(n)s features that %(host)s's lacks: once restarted there, the machine "
        "could not move back."
    ),
    _(
        "A PV guest cannot move while it runs: this Xen has no shadow paging (xl migrate would say "
        "“Failed to enable logdirty”). It is suspended, carried over and resumed."
    ),
    _("The method is one of %(names)s."),
    _("%(host)s has just given its memory to another machine."),
    _("There is no other host named %(name)s."),
    _("No host can take it: %(why)s"),
    _("%(host)s cannot take %(name)s: %(why)s"),
    _("There is no other host."),
    _("there is no other host."),
    _("Only staff settles moves."),
    _("%(name)s stayed on %(host)s."),
    _("%(names)s has not been heard of lately; the move begins when it is back."),
    _("%(host)s is sending another machine: %(why)s."),
    _("%(host)s is receiving another machine: %(why)s."),
    _("one at a time"),
    _("%(n)s at a time"),
    _("Taken back before it began."),
    # --- many moves
    _("It is switched off: it stays here, unless machines that are off are to be moved as well."),
    _("A job is open: %(job)s. Wait until it ends, then plan again."),
    _("This host is not accepted."),
    _("the others take its memory."),
    _("No machine that was moved away from %(host)s is elsewhere now."),
    _("None of these moves is proposed any more. Look at the proposals again."),
    _("It is no longer on this host."),
    _("It could not begin at once."),
    _("%(host)s is being drained."),
    _("%(host)s is silent."),
    _("Moves that were begun before are still under way."),
    _("It is not known whether %(name)s runs."),
    _("It is not known where %(name)s is."),
    # --- a dead host
    _("%(host)s was heard of a moment ago. Move its machines instead."),
    _("It was being moved: settle that first."),
    _("A job is open (%(job)s): once it has ended, look again."),
    _("it takes no machines now."),
    _("it has not been heard of either."),
    _("it does not see the pool %(names)s."),
    _("it has no bridge %(names)s."),
    _("a domain of this id may be there already."),
    # what a person types
    _("%(slug)s is off"),
    _("Type exactly: %(why)s"),
    _("No machine of %(host)s can start on another host now."),
    _("%(name)s has not just said that %(host)s is off."),
    _("“%(why)s”: %(n)s machines start elsewhere"),
    _("%(name)s: %(n)s machines start elsewhere"),
    # --- a fence
    _("Nobody has said how %(host)s is switched off: it is not in the file of fences."),
    _("%(host)s is being switched off already."),
    _("The portal was stopped meanwhile, so nobody knows what the agent did."),
    _("The portal's reports process was away, so the agent was not asked."),
    _("%(name)s is not this host's agent any more."),
    _("%(name)s is not installed on the portal's machine."),
    _("%(name)s cannot be started on the portal's machine."),
    _("%(name)s did not end within %(n)s s and was stopped."),
    _("%(name)s answered %(code)s when told to switch it off."),
    _("%(name)s says that it is still on."),
    _("%(name)s answered %(code)s when asked for the power, which does not say that it is off."),
    _("%(name)s answered off with %(code)s and status with %(type)s."),
    # --- how a move that broke was judged
    _("It runs on both: pull the plug on one of them at once."),
    _("The target says it had a GO that the source never sent."),
    _("It runs on the target without a GO: somebody started it."),
    _("It runs on the target, which had its GO."),
    _("The source cannot be seen."),
    _("The GO never left the source, and it runs there."),
    _("The GO never left the source: it is resumed there."),
    _("The GO never left the source: it is off there."),
    _("The target never had a GO, and it runs on the source."),
    _("The target never had a GO: it is resumed on the source."),
    _("The target never had a GO: it is off on the source."),
    _("The target cannot be seen, and it may have had its GO."),
    _("The target may still get its GO."),
    _("The source has not said how it ended there."),
    _("The target could not start it and said so: it runs on the source again."),
    _("The target had its GO and has it whole, not started yet: it is started there."),
    _("The target had its GO: it is off there."),
    _("The target had its GO and has no domain now: it may have run there and changed its disks."),
    _("No rule covers what was seen."),
    # --- a restored database
    _(
        "The portal's database was restored from an older backup, and staff has not looked yet. Until then "
        "no order is given; machines run on. Ask staff."
    ),
    _(
        "Network %(name)s has no free address; %(n)s are in use on %(names)s by machines that are not the "
        "portal's. Take another network or ask staff."
    ),
    _(
        "%(address)s of network %(name)s, or the card %(mac)s, is held by another machine. Delete that one "
        "first."
    ),
    _("There is no image %(name)s. Register it first."),
    _("There is no network %(name)s. Make it first."),
    _("The database has this machine."),
    _(
        "%(name)s was being deleted on %(host)s: its owner wanted that. What is left of it is for a human to "
        "look at."
    ),
    _("No host shows a receipt of such a machine."),
    _("It has a domain on another host, too: %(names)s. Look there."),
    _("No host that shows a receipt of it has its files or its domain any more."),
    _("%(host)s is silent: nobody knows whether it still has it."),
    _(
        "Its receipt was signed with a key that this portal no longer has: put portal.key and portal.key.old "
        "back from the backup."
    ),
    _("There is no project %(name)s. Make it, or name another one with --project."),
    _("There is no person %(name)s. Make the account, or name another owner with --owner."),
    _("Only staff takes machines back."),
    # --- wishes
    _("SSH keys are a list of texts."),
    _("Give at most %(n)s SSH keys."),
    _("An SSH key is text of at most %(n)s characters."),
    _("This is a private key. Keep it secret and give the line of its .pub file."),
    _(
        "This is a key in PuTTY's format. Give the line that PuTTYgen shows as “Public key for pasting into "
        "OpenSSH authorized_keys file”."
    ),
    _("Give one SSH key per line: this one is broken over several lines."),
    _("The SSH key holds a character that is not text (U+%(name)s). Copy it again."),
    _("An SSH key starts with its type, without options. Types: %(names)s."),
    _("This %(type)s key is damaged. Copy the whole line of the .pub file."),
    _("A password has %(n)s to %(m)s characters."),
    _("A password holds only characters that can be typed at a login prompt."),
    _("User data is text."),
    _("User data is %(n)s bytes; at most %(m)s are taken."),
    _("There is no such field."),
    _("This is what the project has already. Name a higher limit."),
    _("The request cannot be taken like this."),
    _("Name a project you have a seat in."),
    _("Say what it is for, in 1 to %(n)s characters: staff reads it."),
    _("Say why, in 1 to %(n)s characters: the requester reads it."),
    _("This must be a whole number from %(n)s to %(m)s."),
    _("This is not limited apart in your project. Leave it out."),
    _("The project has %(n)s already. Ask for that or more."),
    _("This request is %(state)s already."),
    _("Only the person who asked can withdraw a request."),
    _("Only the person who asked can change a request."),
    _("Only staff decides on requests."),
    _("You wait for an answer about this project already. Change that request, or withdraw it."),
    _("Another member of staff must decide on what you asked for yourself."),
    _("The request was changed after you looked at it. Look again."),
    _("Custom sizes need approval."),
    # stored with requests of earlier versions
    _("Own figures need approval; a listed size does not."),
    _("This project has no quota. Ask staff to give it one."),
    _("Name the %(what)s."),
    _("The %(what)s must be named by its id or short name."),
    _("There is no such %(what)s."),
    _("Choose a size, or give vcpus, memory_mib and disk_gib."),
    _("%(project)s needs at least %(n)s MiB of memory."),
    _("%(project)s needs a disk of at least %(n)s GiB."),
    _("The reason must be text of at most %(n)s characters."),
    _("This must be %(name)s or %(type)s."),
    _("Name the project."),
    _("You have a seat in no project."),
    _("Name the network."),
    _("Give a size or own figures, not both."),
)
