/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that the kernel's headers of Debian 12 (6.1) do not have yet, with the values of the
 * virtio 1.2/1.3 specification (section 5.1) and of newer kernels' UAPI. Everything else comes
 * from <linux/virtio_net.h>.
 */
#pragma once

#include <linux/if_tun.h>
#include <linux/virtio_net.h>

/* Feature bits, section 5.1.3. */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif

#ifndef VIRTIO_NET_F_VQ_NOTF_COAL
#define VIRTIO_NET_F_VQ_NOTF_COAL 52
#endif

/* Commands of the class VIRTIO_NET_CTRL_NOTF_COAL, section 5.1.6.5. */
#ifndef VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET 2
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET 3
#endif

/* virtio_net_hdr.gso_type, section 5.1.6. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* TUNSETOFFLOAD, Linux 6.2 and newer. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/*
 * The header in front of each frame, towards the guest and towards the tap: since VERSION_1 it has
 * the num_buffers field with or without MRG_RXBUF (section 5.1.6), and the tap is told to leave
 * room for it.
 */
#define NET_HEADER_BYTES       12u
#define NET_HEADER_NUM_BUFFERS 10u /* offset of the le16 */

/*
 * With VIRTIO_NET_F_HASH_REPORT it goes on with a le32, the hash, a le16, what was hashed, and a
 * le16 of padding. The tap leaves room for them and looks at none.
 */
#define NET_HEADER_HASH_BYTES 20u

/* An Ethernet header with one VLAN tag. */
#define NET_L2_BYTES 18u

/* The longest frame with segmentation offloaded: an IP packet of 65535 bytes. */
#define NET_GSO_BYTES (NET_L2_BYTES + 65535u)

/* The same with the longest header. */
#define NET_GSO_FRAME_BYTES (NET_HEADER_HASH_BYTES + NET_GSO_BYTES)
