/*
 * Program level — how much of Program and TaskSpec (daemons/proto/cluster.proto) a worker
 * understands, as a number.
 *
 * A worker passes over a field that it does not know, and would make another result than was asked
 * for. So it says its level when it registers, and the master gives no attempt of a job to a worker
 * of a level below what the job's description needs.
 *
 *      0       all there was before workers said a level
 *      1       sort_fields, ignore_exit_status
 *
 * Who adds a field that changes what an attempt does raises PROGRAM_LEVEL by one, writes a line
 * above, and has job_desc_program_level() say the number of descriptions that use the field, and of
 * no others: those run on older workers, too. No number comes twice, none is lowered.
 */
#pragma once

#define PROGRAM_LEVEL 1U
